from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.secret import REDACTED, Secret, generate_token


@given(st.text(min_size=1))
def test_secret_never_shows_itself(text: str) -> None:
    secret = Secret(text)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:s}", f"{[secret]}", "%s" % secret]  # noqa: UP031
    assert set(shown) == {REDACTED, f"[{REDACTED}]"}
    assert secret.reveal() == text


def test_secret_cannot_be_joined_or_concatenated() -> None:
    with pytest.raises(TypeError):
        " ".join(["x", Secret("y")])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        "x" + Secret("y")  # type: ignore[operator]


def test_equal_texts_make_equal_secrets() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("ü")}) == 2


def test_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret("x")


def test_copies_are_the_same_object_and_pickles_are_refused() -> None:
    secret = Secret("a")
    assert copy.deepcopy({"k": secret})["k"] is secret
    assert copy.copy(secret) is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_tokens_have_the_size_asked_for_and_differ() -> None:
    assert len(generate_token(16).reveal()) == 32
    assert generate_token() != generate_token()
