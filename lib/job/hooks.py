"""Running administrators' scripts before and after an operation.

Variables: ``GANETI_<NAME>`` as before the operation; in the post phase also ``GANETI_POST_<NAME>`` as after it. A pre hook that
fails stops the operation; a post hook that fails is a warning. Nodes that do not answer are left out.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from ganeti.base.errors import GanetiError, HooksAbort, NodeError, NodeOffline
from ganeti.job.context import JobContext
from ganeti.model.config import Config
from ganeti.model.ids import NodeUuid
from ganeti.ops.base import HookRun, Hooks
from ganeti.rpc.node.node import HookResult, NodeApi

log = logging.getLogger(__name__)

VERSION = 2
SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
CONFIG_UPDATE = "config-update"
"""Path of the hooks that run on the master after every operation that changed the configuration."""
PRE, POST = "pre", "post"


def build_environment(
    op_id: str, hooks: Hooks, phase: str, run: HookRun, *, cluster: str, master: str, data_directory: str
) -> dict[str, str]:
    """The variables for one phase, as of before the operation."""
    environment = {
        "PATH": SEARCH_PATH,
        "GANETI_HOOKS_VERSION": str(VERSION),
        "GANETI_OP_CODE": op_id,
        "GANETI_DATA_DIR": data_directory,
        "GANETI_HOOKS_PHASE": phase,
        "GANETI_HOOKS_PATH": hooks.path,
        "GANETI_CLUSTER": cluster,
        "GANETI_MASTER": master,
    }
    if hooks.object_type:
        environment["GANETI_OBJECT_TYPE"] = hooks.object_type
    if run.target:
        environment["GANETI_OP_TARGET"] = run.target
    return environment | _prefixed("GANETI_", run.environment)


def add_post(environment: Mapping[str, str], after: HookRun) -> dict[str, str]:
    """The variables of the post phase: those from before, and those from after the operation."""
    return {**environment, **_prefixed("GANETI_POST_", after.environment)}


def _prefixed(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    return {prefix + name: value for name, value in values.items()}


def has_scripts(directory: str, path: str, phase: str) -> bool:
    """Whether there may be hooks on this node; saves a call to it in the usual case that there are none."""
    try:
        with os.scandir(os.path.join(directory, f"{path}-{phase}.d")) as entries:
            return any(entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


class HookPhases:
    """The hooks of one operation. Costs nothing for an operation that declares none."""

    def __init__(self, ctx: JobContext, plan: Any) -> None:
        self._ctx = ctx
        self._plan = plan
        self._hooks = ctx.op.HOOKS
        self._before = ctx.op.hook_run(ctx.config, plan) if self._hooks is not None else None

    def pre(self) -> None:
        """Raises `HooksAbort` if a script fails."""
        if self._hooks is None or self._before is None:
            return
        environment = self._environment(self._hooks, PRE, self._before)
        failures = self._run(self._hooks.path, PRE, self._before.pre_nodes, environment)
        if failures:
            raise HooksAbort(failures)

    def post(self) -> None:
        """After the operation has succeeded. Never raises: it cannot be undone by now."""
        try:
            if self._hooks is not None and self._before is not None:
                self._post(self._hooks, self._before)
            if self._ctx.commits:
                self._config_update()
        except GanetiError as err:
            self._ctx.warn(f"post hooks could not be run: {err}")

    def _post(self, hooks: Hooks, before: HookRun) -> None:
        environment = self._environment(hooks, POST, before)
        after = self._after()
        if after is not None:
            environment = add_post(environment, after)
        self._warn(self._run(hooks.path, POST, (after or before).post_nodes, environment))

    def _after(self) -> HookRun | None:
        try:
            return self._ctx.op.hook_run(self._ctx.config, self._plan)
        except GanetiError as err:
            # What was there before may be gone now: then there is nothing to be said of it.
            log.info("job %d: no variables for the post hooks: %s", self._ctx.job_id, err)
            return None

    def _config_update(self) -> None:
        if not has_scripts(self._ctx.doors.hooks_directory, CONFIG_UPDATE, POST):
            return
        hooks = Hooks(CONFIG_UPDATE, self._hooks.object_type if self._hooks else "")
        environment = self._environment(hooks, POST, self._before or HookRun("", {}))
        self._warn(self._run(CONFIG_UPDATE, POST, (), environment))

    def _environment(self, hooks: Hooks, phase: str, run: HookRun) -> dict[str, str]:
        config = self._ctx.config
        return build_environment(
            self._ctx.op.OP_ID,
            hooks,
            phase,
            run,
            cluster=config.cluster.cluster_name,
            master=config.master.name,
            data_directory=self._ctx.doors.data_directory,
        )

    def _run(self, path: str, phase: str, nodes: tuple[str, ...], environment: dict[str, str]) -> list[list[str]]:
        """Run scripts on the master and these nodes; returns [node, script, output] of those that failed."""
        config = self._ctx.config
        master = config.cluster.master_node
        wanted = dict.fromkeys(NodeUuid(node) for node in nodes)
        wanted.pop(master, None)
        if has_scripts(self._ctx.doors.hooks_directory, path, phase):
            wanted = {master: None, **wanted}
        if not wanted:
            return []
        found = self._ctx.nodes.call_all(wanted, NodeApi.run_hooks, path, phase, environment)
        return self._failures(config, phase, found)

    def _failures(
        self, config: Config, phase: str, found: Mapping[NodeUuid, list[HookResult] | NodeError]
    ) -> list[list[str]]:
        failures = []
        for node, results in found.items():
            if isinstance(results, NodeOffline):
                continue
            if isinstance(results, NodeError):
                self._ctx.warn(f"{phase} hooks were not run: {results}")
                continue
            name = config.node(node).name
            failures += [[name, result.script, result.output] for result in results if result.status == "failed"]
        return failures

    def _warn(self, failures: list[list[str]]) -> None:
        for node, script, output in failures:
            self._ctx.warn(f"post hook {script} on {node} failed: {output}")
