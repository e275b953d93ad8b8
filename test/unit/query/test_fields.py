"""The field tables against the public contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganeti.query import group, instance, node
from ganeti.query.defaults import DEFAULT_FIELDS
from ganeti.query.field import FieldTable, Need
from ganeti.query.resources import RESOURCES

CONTRACT = json.loads((Path(__file__).parents[2] / "compat/data/query_fields.json").read_text())["resources"]
INDEXED = {"disk": 16, "nic": 8}


def contract(resource: str) -> dict[str, tuple[str, str]]:
    """Name -> (title, kind), fields with an index written out."""
    found = {}
    for name, (title, kind, *_) in CONTRACT[resource]["fields"].items():
        if name.endswith("/N"):
            for index in range(INDEXED[name.split(".")[0]]):
                found[f"{name[:-1]}{index}"] = (title.replace("/N", f"/{index}"), kind)
        else:
            found[name] = (title, kind)
    return found


@pytest.mark.parametrize(
    ("resource", "table"), [("instance", instance.FIELDS), ("node", node.FIELDS), ("group", group.FIELDS)]
)
def test_every_field_of_the_contract_is_there_with_its_title_and_kind(
    resource: str, table: FieldTable
) -> None:
    assert {name: (field.title, str(field.kind)) for name, field in table.items()} == contract(resource)


@pytest.mark.parametrize("resource", ["instance", "node", "group"])
def test_fields_that_need_live_data_are_those_of_the_contract(resource: str) -> None:
    live = {"live", "console"}
    expected = {name for name, facts in CONTRACT[resource]["fields"].items() if facts[2] in live}
    table: Any = RESOURCES[resource].fields
    assert {name for name, field in table.items() if field.need is not Need.NONE} == expected


def test_default_fields_exist() -> None:
    for name, resource in RESOURCES.items():
        assert set(DEFAULT_FIELDS[name]) <= set(resource.fields)


def test_every_field_is_explained() -> None:
    for resource in RESOURCES.values():
        assert all(field.doc for field in resource.fields.values())
