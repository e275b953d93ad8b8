"""Talking to a command on its terminal."""

from __future__ import annotations

import pytest

from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.tools.demo.terminal import on_terminal

ASK = 'stty -echo; printf "name? "; read -r name; echo "hello $name"; exit 3'


def test_conversation() -> None:
    with on_terminal(["sh", "-c", ASK], proc.clean_environment()) as terminal:
        terminal.expect("name? ", 5)
        terminal.type("nobody\r")
        terminal.expect("hello nobody", 5)
        assert terminal.wait(5) == 3


def test_end_before_the_text_is_an_error_with_the_screen() -> None:
    with on_terminal(["sh", "-c", "echo something else"], proc.clean_environment()) as terminal:
        with pytest.raises(ExecError, match="ended before it said 'login: '") as caught:
            terminal.expect("login: ", 5)
        assert "something else" in caught.value.message


def test_text_is_without_control_sequences() -> None:
    with on_terminal(["printf", r"\033[1;31mred\033[0m \033[6n\n\n\nend"], proc.clean_environment()) as terminal:
        terminal.expect("end", 5)
        assert terminal.text() == "red\nend"


def test_silence_is_an_error_too() -> None:
    with on_terminal(["sleep", "60"], proc.clean_environment()) as terminal:
        with pytest.raises(ExecError, match="did not say 'x' in 0.05 s"):
            terminal.expect("x", 0.05)
        with pytest.raises(Timeout):
            terminal.wait(0.05)
