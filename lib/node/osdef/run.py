"""Running the scripts of OS definitions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime

from ganeti.base.errors import Code, ExecError, PrereqError
from ganeti.base.files import ensure_directory
from ganeti.base.paths import Paths
from ganeti.model.filled import FilledInstance
from ganeti.node.osdef import definition as definitions
from ganeti.node.osdef.definition import Definition
from ganeti.node.osdef.environment import build_core, build_instance
from ganeti.node.scripts import Scripts

INSTALL_TIMEOUT = 3.5 * 3600
"""Seconds a create or rename script may take; less than the node call allows."""
VERIFY_TIMEOUT = 120.0


class OsScripts:
    """The OS definitions of this node at work. Secret values are only ever in a script's environment."""

    def __init__(self, paths: Paths, scripts: Scripts, *, timeout: float = INSTALL_TIMEOUT) -> None:
        self._paths = paths
        self._scripts = scripts
        self._timeout = timeout

    def create(self, instance: FilledInstance, devices: Sequence[str], *, reinstall: bool, secret: Mapping[str, str]) -> None:
        """Install the OS on the disks found at `devices`. Raises `PrereqError` (no such OS), `ExecError` (the script failed)."""
        definition = definitions.find(self._paths.os_search_path, instance.os)
        if not definition.trusted:
            raise PrereqError(
                f"OS {definition.name} has only a create_untrusted script, which needs a helper machine; "
                "this version runs 'create' scripts only",
                Code.ENVIRON,
            )
        extra = {"INSTANCE_REINSTALL": "1"} if reinstall else {}
        self._run(definition, "create", instance, devices, extra=extra, secret=secret)

    def rename(self, instance: FilledInstance, devices: Sequence[str], old_name: str) -> None:
        """Tell the guest's file systems the new name of the instance."""
        definition = definitions.find(self._paths.os_search_path, instance.os)
        self._run(definition, "rename", instance, devices, extra={"OLD_INSTANCE_NAME": old_name}, secret={})

    def validate(self, name: str, osparams: Mapping[str, str], *, force_variant: bool) -> str:
        """Empty if the OS can be installed with these parameters, else what is wrong."""
        try:
            definition = definitions.find(self._paths.os_search_path, name)
            variant = definition.choose_variant(name, force=force_variant)
        except PrereqError as err:
            return err.message
        if definition.api < 20:
            return "" if not osparams else f"OS {definition.name} (API {definition.api}) takes no parameters"
        known = {parameter for parameter, _ in definition.parameters}
        unknown = sorted(set(osparams) - known)
        if unknown:
            listed = ", ".join(sorted(known)) or "none"
            return f"OS {definition.name} has no parameter {', '.join(map(repr, unknown))}; it has: {listed}"
        result = self._scripts.run(
            [definition.script("verify"), "parameters"],
            env={**self._paths.environment(), **build_core(definition, variant, osparams)},
            timeout=VERIFY_TIMEOUT,
            cwd=definition.path,
            secrets=list(osparams.values()),
        )
        if result.ok:
            return ""
        return f"OS {definition.name} refuses the parameters ({result.describe(VERIFY_TIMEOUT)}): {result.tail() or 'no output'}"

    def _run(
        self,
        definition: Definition,
        script: str,
        instance: FilledInstance,
        devices: Sequence[str],
        *,
        extra: Mapping[str, str],
        secret: Mapping[str, str],
    ) -> None:
        # The variant was judged when the instance was created; it may be one that was forced.
        variant = definition.choose_variant(instance.os, force=True)
        parameters = {**instance.osparams, **instance.osparams_private, **secret}
        # A root of its own (development clusters) is told too, so that scripts find this node's files.
        environment = {
            **self._paths.environment(),
            **build_core(definition, variant, parameters),
            **build_instance(instance, devices),
            **extra,
        }
        log_file = self._log_file(definition.name, instance.name)
        result = self._scripts.run(
            [definition.script(script)],
            env=environment,
            timeout=self._timeout,
            cwd=definition.path,
            log_file=log_file,
            secrets=[str(value) for value in (*instance.osparams_private.values(), *secret.values())],
        )
        if not result.ok:
            raise ExecError(
                f"the {script} script of OS {definition.name} failed for instance {instance.name} "
                f"({result.describe(self._timeout)}); its whole output is in {log_file} on node {self._paths.hostname}; "
                f"the last lines:\n{result.tail() or '(no output)'}"
            )

    def _log_file(self, name: str, instance: str) -> str:
        ensure_directory(self._paths.os_log, 0o750)
        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")
        return os.path.join(self._paths.os_log, f"{name}-{instance}-{moment}.log")
