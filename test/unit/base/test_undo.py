from __future__ import annotations

import pytest

from ganeti.base.undo import Undo


def test_uncommitted_steps_are_undone_in_reverse() -> None:
    done: list[str] = []
    with pytest.raises(ValueError, match="third step"), Undo() as undo:
        undo.push(done.append, "first")
        undo.push(done.append, "second")
        raise ValueError("third step")
    assert done == ["second", "first"]


def test_committed_steps_stay() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.push(done.append, "first")
        undo.commit()
    assert done == []


def test_forgotten_commit_undoes() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.push(done.append, "first")
    assert done == ["first"]


def test_steps_after_a_commit_are_undone_alone() -> None:
    done: list[str] = []
    with pytest.raises(KeyError), Undo() as undo:
        undo.push(done.append, "kept")
        undo.commit()
        undo.push(done.append, "undone")
        raise KeyError
    assert done == ["undone"]


def test_failing_undo_neither_masks_the_error_nor_stops_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def remove_volume(name: str, *, force: bool) -> None:
        raise OSError(f"{name} is busy ({force=})")

    with pytest.raises(ValueError, match="original") as caught, Undo() as undo:
        undo.push(done.append, "first")
        undo.push(remove_volume, "vol1", force=True)
        undo.push(done.append, "last")
        raise ValueError("original")
    assert done == ["last", "first"]
    (note,) = caught.value.__notes__
    assert "remove_volume failed: vol1 is busy (force=True)" in note
    assert "remove_volume" in caplog.text


def test_interrupted_block_is_undone_too() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Undo() as undo:
        undo.push(done.append, "first")
        raise KeyboardInterrupt
    assert done == ["first"]
