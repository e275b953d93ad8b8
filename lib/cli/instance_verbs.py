"""Sub-commands of `gnt-instance` that submit one opcode for each instance named."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ganeti.cli.command import Environment
from ganeti.cli.opcommand import OpCommand
from ganeti.model.enums import RebootType


def _reboot_type(_env: Environment, _args: Namespace, values: dict[str, Any]) -> dict[str, Any]:
    return {"reboot_type": str(RebootType.HARD), **values}


STARTUP = OpCommand("OP_INSTANCE_STARTUP", "instance_name", many=True)
SHUTDOWN = OpCommand("OP_INSTANCE_SHUTDOWN", "instance_name", many=True)
REBOOT = OpCommand("OP_INSTANCE_REBOOT", "instance_name", many=True, adjust=_reboot_type)
REMOVE = OpCommand(
    "OP_INSTANCE_REMOVE",
    "instance_name",
    confirm="Instance {name} will be stopped and removed, with all its data. Go on?",
)
MIGRATE = OpCommand(
    "OP_INSTANCE_MIGRATE",
    "instance_name",
    confirm="Instance {name} will be moved to another node while it runs. Go on?",
)
FAILOVER = OpCommand(
    "OP_INSTANCE_FAILOVER",
    "instance_name",
    confirm="Instance {name} will be stopped and started on another node. Go on?",
)
