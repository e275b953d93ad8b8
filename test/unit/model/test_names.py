from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import PrereqError
from ganeti.model.names import check_tag, check_tags, normalize_host_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [("Web1.Example.COM.", "web1.example.com"), ("a_b-c", "a_b-c"), ("1", "1"), ("x" * 63, "x" * 63)],
)
def test_names_are_lower_case_without_a_dot_at_the_end(typed: str, name: str) -> None:
    assert normalize_host_name(typed) == name


@pytest.mark.parametrize(
    "typed", ["", ".", "a..b", ".a", "-a", "a.-b", "a b", "a/b", "../a", "x" * 64, "ü", "a\n", "a" + ".b" * 130]
)
def test_what_is_no_host_name_is_refused(typed: str) -> None:
    with pytest.raises(PrereqError, match="is not a host name"):
        normalize_host_name(typed)


@given(st.text(max_size=20))
def test_what_is_accepted_is_safe_as_a_file_name_and_as_an_argument(typed: str) -> None:
    try:
        name = normalize_host_name(typed)
    except PrereqError:
        return
    assert "/" not in name and not name.startswith(("-", ".")) and name == name.lower() and name.isprintable()
    assert normalize_host_name(name) == name


def test_tags_are_of_limited_length_number_and_characters() -> None:
    check_tag("htools:iextags:rack@1/a+b*c.d_e-f")
    for tag in ("", "a b", "a" * 129, "ä", "a\n"):
        with pytest.raises(PrereqError, match="is not a tag"):
            check_tag(tag)
    with pytest.raises(PrereqError, match="the cluster cannot have more than 4096 tags"):
        check_tags(tuple(f"t{number}" for number in range(4097)), "the cluster")
