from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base.errors import PrereqError
from ganeti.base.paths import Paths
from ganeti.node.hooks import run_hooks
from ganeti.node.scripts import Scripts
from ganeti.rpc.node.node import HookResult


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), "node2")


def hook(paths: Paths, folder: str, name: str, body: str, mode: int = 0o755) -> None:
    path = Path(paths.hooks, folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(mode)


def test_no_directory_means_no_hooks(paths: Paths) -> None:
    assert run_hooks(paths, Scripts(), "instance-start", "pre", {}) == []


def test_hooks_run_in_the_order_of_their_names_also_after_a_failure(paths: Paths) -> None:
    hook(paths, "instance-start-pre.d", "20-last", "echo last")
    hook(paths, "instance-start-pre.d", "10_first", "echo oh; exit 4")
    hook(paths, "instance-start-post.d", "other-phase", "echo wrong")
    assert run_hooks(paths, Scripts(), "instance-start", "pre", {}) == [
        HookResult("instance-start-pre.d/10_first", "failed", "exit status 4: oh"),
        HookResult("instance-start-pre.d/20-last", "success", "last\n"),
    ]


def test_only_plain_names_are_hooks(paths: Paths) -> None:
    for name in ("good", "backup~", "old.dpkg-old", ".hidden", "with space"):
        hook(paths, "node-add-post.d", name, "echo hi")
    assert [result.script for result in run_hooks(paths, Scripts(), "node-add", "post", {})] == ["node-add-post.d/good"]


def test_file_that_cannot_be_run_is_skipped(paths: Paths) -> None:
    hook(paths, "node-add-post.d", "a", "echo hi", mode=0o644)
    os.mkdir(Path(paths.hooks, "node-add-post.d", "b"))
    Path(paths.hooks, "node-add-post.d", "c").symlink_to("nowhere")
    results = run_hooks(paths, Scripts(), "node-add", "post", {})
    assert [result.status for result in results] == ["skipped"] * 3


def test_environment_is_clean_besides_what_was_given(paths: Paths) -> None:
    hook(paths, "node-add-post.d", "a", "env | grep -v '^_=\\|^PWD=' | sort")
    (result,) = run_hooks(paths, Scripts(), "node-add", "post", {"GANETI_OP_CODE": "OP_NODE_ADD", "PATH": "/evil"})
    names = dict(line.split("=", 1) for line in result.output.splitlines())
    assert names.pop("PATH") == "/sbin:/bin:/usr/sbin:/usr/bin"
    assert names == {"GANETI_OP_CODE": "OP_NODE_ADD", **paths.environment()}


def test_hook_that_takes_too_long_is_ended(paths: Paths) -> None:
    hook(paths, "node-add-pre.d", "a", "sleep 60")
    (result,) = run_hooks(paths, Scripts(), "node-add", "pre", {}, timeout=0.1)
    assert (result.status, result.output) == ("failed", "took longer than 0.1 s and was ended: (no output)")


def test_script_that_cannot_be_started_is_a_failure(paths: Paths) -> None:
    hook(paths, "node-add-pre.d", "a", "")
    Path(paths.hooks, "node-add-pre.d", "a").write_text("#!/no/such/shell\n")
    (result,) = run_hooks(paths, Scripts(), "node-add", "pre", {})
    assert result.status == "failed"
    assert "cannot be started" in result.output


@pytest.mark.parametrize(("path", "phase"), [("../../etc", "pre"), ("a/b", "pre"), ("", "post"), ("node-add", "during")])
def test_strange_paths_and_phases_are_refused(paths: Paths, path: str, phase: str) -> None:
    with pytest.raises(PrereqError, match="there are no hooks"):
        run_hooks(paths, Scripts(), path, phase, {})
