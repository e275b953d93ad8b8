"""Typed values to JSON and back."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base import codec
from ganeti.base.errors import DecodeError
from ganeti.base.secret import Secret
from ganeti.model.enums import Kind
from ganeti.model.objects import Delete, Node, Put

Id = NewType("Id", str)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Leaf:
    name: str
    size: int = 0
    ratio: float = 1.0
    colour: Colour = Colour.RED
    note: str | None = None


@dataclass(frozen=True)
class Tree:
    id: Id
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = field(default_factory=dict)
    by_number: dict[int, str] = field(default_factory=dict)
    words: frozenset[str] = frozenset()
    pair: tuple[str, int] = ("", 0)
    children: tuple[Tree, ...] = ()


@dataclass(frozen=True)
class Start:
    at: int
    kind: Literal["start"] = "start"


@dataclass(frozen=True)
class Stop:
    why: str
    kind: Literal["stop"] = "stop"


leaves = st.builds(
    Leaf,
    name=st.text(),
    size=st.integers(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    colour=st.sampled_from(Colour),
    note=st.none() | st.text(),
)
trees = st.recursive(
    st.builds(
        Tree,
        id=st.text().map(Id),
        leaves=st.lists(leaves, max_size=3).map(tuple),
        by_name=st.dictionaries(st.text(), leaves, max_size=3),
        by_number=st.dictionaries(st.integers(), st.text(), max_size=3),
        words=st.frozensets(st.text(), max_size=3),
        pair=st.tuples(st.text(), st.integers()),
    ),
    lambda inner: st.builds(Tree, id=st.text().map(Id), children=st.lists(inner, max_size=3).map(tuple)),
    max_leaves=5,
)


@given(trees)
def test_decoding_is_the_inverse_of_encoding(tree: Tree) -> None:
    assert codec.from_json(Tree, codec.to_json(tree)) == tree


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_decoding_anything_gives_a_value_or_a_decode_error(value: Any) -> None:
    for cls in (Tree, Leaf, Start | Stop, list[int], dict[str, Leaf], tuple[str, int], Colour, Put):
        with contextlib.suppress(DecodeError):
            codec.decode(cls, value)


@pytest.mark.parametrize(
    ("cls", "value", "path", "words"),
    [
        (Leaf, {}, "name", "is missing"),
        (Leaf, {"name": "x", "weight": 1}, "weight", "unknown field"),
        (Leaf, {"name": "x", "size": "1"}, "size", "expected a whole number, got text"),
        (Leaf, {"name": "x", "size": True}, "size", "expected a whole number, got a boolean"),
        (Leaf, {"name": "x", "size": 1.5}, "size", "expected a whole number"),
        (Leaf, {"name": "x", "colour": "green"}, "colour", "expected one of red, blue; got 'green'"),
        (Tree, {"id": "t", "leaves": [{"name": "a"}, {"name": 3}]}, "leaves[1].name", "expected text, got a number"),
        (Tree, {"id": "t", "by_name": {"a": {"name": None}}}, "by_name.a.name", "expected text, got null"),
        (Tree, {"id": "t", "pair": ["a"]}, "pair", "expected a list of 2 entries"),
        (Start | Stop, {"kind": "pause"}, "", "unknown kind 'pause'"),
    ],
)
def test_an_error_names_the_place_and_what_was_expected(cls: Any, value: Any, path: str, words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        codec.decode(cls, value)
    assert caught.value.path == path
    assert words in caught.value.reason


def test_an_int_is_a_float_but_not_the_other_way() -> None:
    assert codec.decode(Leaf, {"name": "x", "ratio": 2}).ratio == 2.0


def test_a_union_is_told_apart_by_its_kind() -> None:
    values: list[Start | Stop] = [Stop("tired"), Start(3)]
    assert codec.decode(list[Start | Stop], codec.encode(values)) == values


def test_a_change_carries_the_kind_of_its_object() -> None:
    node = Node(uuid="u", name="n", primary_ip="1", secondary_ip="1", group="g")  # type: ignore[arg-type]
    changes = [Put(node), Delete.of(node)]
    wire = codec.encode(changes)
    assert wire[0]["object_kind"] == Kind.NODE
    assert codec.decode(list[Put | Delete], wire) == changes


def test_a_secret_is_revealed_on_the_wire_only() -> None:
    assert codec.encode(Secret("x")) == "x"
    assert "x" not in repr(codec.decode(Secret, "x"))


def test_json_that_is_none_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="not valid JSON"):
        codec.loads("{")
