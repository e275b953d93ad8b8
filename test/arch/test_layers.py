"""The table of doc/architecture.md ("package | may import") is what the code really imports."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
LIB = ROOT / "lib"
PAGE = ROOT / "doc" / "architecture.md"

FRONT_ENDS = frozenset({"cli", "rapi", "watcher", "confd", "mond", "metad"})

# What the words of the table mean in modules. Doors of our own count as what they lead to.
WORDS = {
    "clock": {"time"},
    "socket": {"socket", "ssl", "asyncio", "http", "urllib", "ganeti.base.net", "ganeti.base.ssh"},
    "process": {"subprocess", "multiprocessing", "threading", "ganeti.base.proc", "ganeti.base.daemon"},
    "file": {"tempfile", "shutil", "ganeti.base.files", "ganeti.base.flock"},
}


@dataclass
class Row:
    """One package of the table: packages it may import, per subfolder more of them, modules it must not import."""

    allowed: set[str]
    more: dict[str, set[str]]
    forbidden: set[str]


def _split(words: str) -> set[str]:
    return {word for word in re.split(r"\s*,\s*|\s+and\s+|\s+or\s+", words.strip()) if word}


def read_table(page: str) -> dict[str, Row]:
    """Parse the rows between the heading "package | may import" and the next empty line."""
    body = page.split("| package | may import", 1)[1].split("\n\n", 1)[0]
    rows: dict[str, Row] = {}
    for line in body.splitlines()[2:]:
        names, rule = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            rows[name] = _read_rule(name, rule)
    below = set(rows) - FRONT_ENDS
    for name, row in rows.items():
        if "*" in row.allowed:
            row.allowed = below - {name}
    return rows


def _read_rule(name: str, rule: str) -> Row:
    first, *clauses = rule.replace("`", "").split(";")
    first = re.sub(r"\(.*?\)| declarations", "", first).strip()
    if first == "nothing of ours":
        row = Row(set(), {}, set())
    elif first == "everything below the front ends":
        row = Row({"*"}, {}, set())
    else:
        row = Row(_split(first), {}, set())
    for clause in map(str.strip, clauses):
        if match := re.fullmatch(r"(?:only )?(.+) also (.+)", clause):
            for place in _split(match[1]):
                if place.split("/")[0] == name:
                    row.more[place.replace("/", ".")] = _split(match[2])
        elif match := re.fullmatch(r"no (.+)", clause):
            for word in _split(match[1]):
                row.forbidden |= WORDS.get(word, {word}) if name == "model" else {word}
        elif not clause.startswith("runs only"):
            pytest.fail(f"{PAGE.name}: row {name}: the test does not understand {clause!r}")
    return row


@pytest.fixture(scope="module")
def table() -> dict[str, Row]:
    return read_table(PAGE.read_text())


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("ganeti", include_external_packages=True, cache_dir=None)


def imports_of_ours(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Return (importer, imported), without the prefix `ganeti.`, for all imports between our modules."""
    return [
        (importer.removeprefix("ganeti."), imported.removeprefix("ganeti."))
        for importer in sorted(graph.modules)
        if importer.startswith("ganeti.")
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if imported.startswith("ganeti.")
    ]


def test_every_package_stands_in_the_table(table: dict[str, Row]) -> None:
    packages = {path.name for path in LIB.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert packages - set(table) == set()


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in LIB.rglob("*.py")}
    assert [str(folder.relative_to(LIB)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_packages_import_only_what_the_table_allows(graph: grimp.ImportGraph, table: dict[str, Row]) -> None:
    wrong = []
    for importer, imported in imports_of_ours(graph):
        source, target = importer.split(".")[0], imported.split(".")[0]
        row = table.get(source)
        if row is None or target == source:
            continue
        more = {name for place, names in row.more.items() if f"{importer}.".startswith(f"{place}.") for name in names}
        if target not in row.allowed | more:
            wrong.append(f"{importer} imports {imported}")
    assert wrong == []


def test_forbidden_modules_are_not_imported(graph: grimp.ImportGraph, table: dict[str, Row]) -> None:
    wrong = []
    for importer in sorted(graph.modules):
        row = table.get(importer.removeprefix("ganeti.").split(".")[0])
        if row is None or not importer.startswith("ganeti."):
            continue
        wrong += [
            f"{importer} imports {imported}"
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if any(f"{imported}.".startswith(f"{name}.") for name in row.forbidden)
        ]
    assert wrong == []


def family_of(module: str) -> tuple[str, str] | None:
    """Return (folder, sibling) if the module lies in a folder whose siblings must not know one another."""
    parts = module.split(".")
    if parts[0] == "ops" and len(parts) >= 3:
        return ".".join(parts[:2]), parts[2]
    if parts[:2] in (["node", "hypervisor"], ["node", "storage"]) and len(parts) >= 3:
        return ".".join(parts[:2]), parts[2]
    if parts[0] == "cli" and len(parts) >= 2 and parts[1] in commands():
        return "cli", parts[1]
    return None


def commands() -> set[str]:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    return {name.removeprefix("gnt-") for name in scripts}


def test_siblings_do_not_import_one_another(graph: grimp.ImportGraph) -> None:
    wrong = []
    for importer, imported in imports_of_ours(graph):
        source, target = family_of(importer), family_of(imported)
        if source is None or target is None or source[0] != target[0] or source[1] == target[1]:
            continue
        if target[1] not in ("base", "steps") and source[0] != "ops.steps":
            wrong.append(f"{importer} imports {imported}")
    assert wrong == []


def test_modules_and_functions_stay_small() -> None:
    wrong = []
    for path in sorted(LIB.rglob("*.py")):
        text = path.read_text()
        lines = text.count("\n")
        if lines >= 600:
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length >= 60:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    assert wrong == []


def test_table_reader_understands_each_kind_of_rule() -> None:
    rows = read_table(
        "| package | may import (besides itself) |\n|---|---|\n"
        "| `low` | nothing of ours |\n"
        "| `model` | low; no clock, socket |\n"
        "| `alg` | low, model; only `alg/io` and `alg/cli` also net |\n"
        "| `cli` | low, alg (declarations only), model; cli also alg (on first use) |\n"
        "| `top` | everything below the front ends; runs only at night |\n\n"
    )
    assert rows["low"].allowed == set()
    assert "time" in rows["model"].forbidden and "ganeti.base.net" in rows["model"].forbidden
    assert rows["alg"].more == {"alg.io": {"net"}, "alg.cli": {"net"}}
    assert rows["cli"].allowed == {"low", "alg", "model"}
    assert rows["top"].allowed == {"low", "model", "alg"}
