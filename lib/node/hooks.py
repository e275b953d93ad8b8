"""Hooks: scripts of the operator in ``{conf}/hooks/<path>-<phase>.d``, run in the order of their names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from ganeti.base.errors import CommandError, PrereqError
from ganeti.base.paths import Paths
from ganeti.node.scripts import Scripts
from ganeti.rpc.node.node import HookResult

SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
TIMEOUT = 600.0
"""Seconds that one script may take."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PATH = re.compile(r"[a-z0-9][a-z0-9-]*")
PHASES = ("pre", "post")


def find_hooks(directory: str) -> list[tuple[str, bool]]:
    """Files with a hook's name, sorted, and whether each can be run. Everything else (backups, say) is no hook."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(entry.name, _is_runnable(entry.path)) for entry in entries if _NAME.fullmatch(entry.name)]


def _is_runnable(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def run_hooks(
    paths: Paths, scripts: Scripts, path: str, phase: str, environment: Mapping[str, str], *, timeout: float = TIMEOUT
) -> list[HookResult]:
    """Run all hooks of an operation's phase here, also after one has failed. Raises `PrereqError` for a strange path or phase."""
    if phase not in PHASES or not _PATH.fullmatch(path):
        raise PrereqError(f"there are no hooks '{path}' of phase '{phase}'")
    folder = f"{path}-{phase}.d"
    directory = os.path.join(paths.hooks, folder)
    clean = {**paths.environment(), **environment, "PATH": SEARCH_PATH}
    results = []
    for name, runnable in find_hooks(directory):
        shown = f"{folder}/{name}"
        if runnable:
            results.append(_run(scripts, shown, os.path.join(directory, name), clean, timeout))
        else:
            results.append(HookResult(shown, "skipped", ""))
    return results


def _run(scripts: Scripts, shown: str, script: str, environment: Mapping[str, str], timeout: float) -> HookResult:
    try:
        result = scripts.run([script], env=environment, timeout=timeout, cwd="/")
    except CommandError as err:
        return HookResult(shown, "failed", err.message)
    if result.ok:
        return HookResult(shown, "success", result.output)
    output = result.tail() or "(no output)"
    return HookResult(shown, "failed", f"{result.describe(timeout)}: {output}")
