"""The command line's front door."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import errors
from ganeti.base.paths import Paths
from ganeti.cli import app
from ganeti.cli.command import Environment


class Terminal(Environment):
    """An environment whose LUXI calls are answered from a table, and whose output is text."""

    def __init__(self, answers: dict[str, Any] | None = None, stdin: str = "", **kwargs: Any) -> None:
        super().__init__(
            stdin=io.StringIO(stdin), stdout=io.StringIO(), stderr=io.StringIO(), environ={}, **kwargs
        )
        self.answers = answers or {}
        self.calls: list[tuple[Any, ...]] = []

    def call(self, method: str, *args: Any) -> Any:
        self.calls.append((method, *args))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer

    @property
    def out(self) -> str:
        return self.stdout.getvalue()  # type: ignore[attr-defined]  # made above

    @property
    def err(self) -> str:
        return self.stderr.getvalue()  # type: ignore[attr-defined]  # made above


def run(line: str, **kwargs: Any) -> tuple[int, Terminal]:
    terminal = Terminal(paths=Paths("/nowhere/node1.example.com"), **kwargs)
    return app.main(line.split(), terminal), terminal


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            errors.PrereqError("no such node", "unknown_entity"),
            1,
            "error type: unknown_entity, error details:\nno such node",
        ),
        (errors.NotMaster("ask node2"), 11, "Failure: ask node2"),
        (errors.NoCluster("in no cluster"), 5, "Failure: in no cluster"),
        (errors.ExecError("it broke"), 1, "Failure: it broke"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "no permission for /x/y (Permission denied); run"),
    ],
)
def test_errors_become_a_line_and_an_exit_status(error: Exception, status: int, text: str) -> None:
    code, terminal = run("gnt-instance list", answers={"Query": error})
    assert (code, terminal.out) == (status, "")
    assert text in terminal.err


@pytest.mark.parametrize("program", app.PROGRAMS)
def test_every_verb_can_be_loaded_and_explains_itself(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs, aliases = app.load_table(f"gnt-{program}")
    assert verbs
    for name, verb in verbs.items():
        parser = app.build_parser(f"gnt-{program}", name, verb, verb.load())
        assert parser.format_help()
        unexplained = [action.dest for action in parser._actions if action.option_strings and not action.help]
        assert unexplained == []
    assert set(aliases.values()) <= set(verbs)


def test_installation_gives_each_program() -> None:
    settings = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert {f"gnt-{name}": "ganeti.cli.app:main" for name in app.PROGRAMS} == settings["project"]["scripts"]


def test_an_unknown_verb_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["gnt-instance", "migrat", "x"]) == 1
    assert "did you mean migrate?" in capsys.readouterr().err


def test_wrong_usage_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["gnt-instance", "list", "--nosuch"]) == 1
    assert "--nosuch" in capsys.readouterr().err


def test_a_question_without_a_terminal_does_nothing() -> None:
    code, terminal = run("gnt-instance remove web1")
    assert code == 1
    assert terminal.calls == []
    assert "no terminal" in terminal.err


def test_lists_take_options_from_the_environment() -> None:
    terminal = Terminal(
        {"Query": {"fields": [{"name": "name", "title": "Instance", "kind": "text"}], "data": []}}
    )
    terminal._environ = {"GNT_INSTANCE_LIST": "-o name"}
    app.main(["gnt-instance", "list"], terminal)
    assert terminal.calls == [("Query", "instance", ["name"], None)]
