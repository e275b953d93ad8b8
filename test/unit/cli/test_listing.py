"""Tables as scripts in the field read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.cli.test_app import run

OUTPUTS = Path(__file__).parents[2] / "compat/data/outputs"

COLUMNS = {
    "instance": [
        ("name", "Instance", "text"),
        ("hypervisor", "Hypervisor", "text"),
        ("os", "OS", "text"),
        ("pnode", "Primary_node", "text"),
        ("status", "Status", "text"),
        ("oper_ram", "Memory", "unit"),
    ],
    "node": [
        ("name", "Node", "text"),
        ("dtotal", "DTotal", "unit"),
        ("dfree", "DFree", "unit"),
        ("mtotal", "MTotal", "unit"),
        ("mnode", "MNode", "unit"),
        ("mfree", "MFree", "unit"),
        ("pinst_cnt", "Pinst", "number"),
        ("sinst_cnt", "Sinst", "number"),
    ],
}


def recorded(name: str) -> str:
    return (OUTPUTS / name).read_text().split("--- stdout\n", 1)[1]


def answer(what: str, rows: list[list[Any]]) -> dict[str, Any]:
    fields = [{"name": name, "title": title, "kind": kind, "doc": ""} for name, title, kind in COLUMNS[what]]
    cells = [[cell if isinstance(cell, list) else [0, cell] for cell in row] for row in rows]
    return {"fields": fields, "data": cells}


def instances() -> list[list[Any]]:
    rows = []
    for line in recorded("instance_list_sep.txt").splitlines():
        *words, memory = line.split(":")
        rows.append([*words, [3, None] if memory == "-" else int(memory)])
    return rows


@pytest.mark.parametrize(
    ("options", "file"), [("", "instance_list.txt"), ("--no-headers --separator=:", "instance_list_sep.txt")]
)
def test_a_list_of_instances_looks_as_recorded(options: str, file: str) -> None:
    status, terminal = run(f"gnt-instance list {options}", answers={"Query": answer("instance", instances())})
    assert (status, terminal.out) == (0, recorded(file))


def test_a_list_of_nodes_looks_as_recorded() -> None:
    rows = [[f"node{n}.example.com", 258048, 72120, 24074, 918, 23244, 0, 0] for n in (1, 2, 3)]
    status, terminal = run("gnt-node list", answers={"Query": answer("node", rows)})
    assert (status, terminal.out) == (0, recorded("node_list.txt"))


@pytest.mark.parametrize(
    ("options", "shown"),
    [("", ["?", "-", "*", "??"]), ("-v", ["(nodata)", "(unavail)", "(offline)", "(unknown)"])],
)
def test_missing_values_are_marked(options: str, shown: list[str]) -> None:
    query = {
        "fields": [{"name": "x", "title": "X", "kind": "text"}],
        "data": [[[n, None]] for n in (2, 3, 4, 1)],
    }
    _, terminal = run(f"gnt-node list --no-headers {options}", answers={"Query": query})
    assert terminal.out.split() == shown


def test_an_unknown_field_is_status_14() -> None:
    query = {"fields": [{"name": "nosuch", "title": "nosuch", "kind": "unknown"}], "data": [[[1, None]]]}
    status, terminal = run("gnt-node list -o nosuch", answers={"Query": query})
    assert status == 14
    assert "nosuch" in terminal.err


def test_a_plus_adds_fields_to_the_default_ones() -> None:
    _, terminal = run("gnt-node list -o +uuid node1 node2", answers={"Query": {"fields": [], "data": []}})
    ((_, what, fields, qfilter),) = terminal.calls
    assert (what, fields[0], fields[-1]) == ("node", "name", "uuid")
    assert qfilter == ["|", ["==", "name", "node1"], ["==", "name", "node2"]]


@pytest.mark.parametrize(("units", "shown"), [("h", "1.5G"), ("m", "1536"), ("g", "1.5")])
def test_sizes_are_shown_in_the_unit_asked_for(units: str, shown: str) -> None:
    query = {"fields": [{"name": "m", "title": "M", "kind": "unit"}], "data": [[[0, 1536]]]}
    _, terminal = run(f"gnt-node list --no-headers --units={units}", answers={"Query": query})
    assert terminal.out.strip() == shown
