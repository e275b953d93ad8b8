"""Commands for the shell of whoever plays with the cluster: each runs inside the master node's namespaces.

They are shell scripts, because a Python start would double the time that a command takes: this way it is about 5 ms.
"""

from __future__ import annotations

import os
import shlex

from ganeti.base.files import ensure_directory, write_atomic
from ganeti.tools.devcluster import machine
from ganeti.tools.devcluster.plan import Plan

PREFIXES = ("gnt-", "ganeti-")
OTHERS = ("hbal", "hspace", "hail", "hcheck", "hinfo", "hroller", "hscan", "hsqueeze", "harep", "htools")

_ENTER = """#!/bin/sh
# Run a command inside a node of cluster {name}: the master, or the one that the variable DEVCLUSTER_NODE names.
state={state}
read -r node 2>/dev/null <"$state/master" || node=node1
node=${{DEVCLUSTER_NODE:-$node}}
node=${{node%%.*}}
off() {{
    echo "Failure: node $node of cluster {name} is off or not there; see 'devcluster status{option}'" >&2
    exit 1
}}
{{ read -r pid started <"$state/init/$node"; }} 2>/dev/null || off
{{ read -r stat <"/proc/$pid/stat"; }} 2>/dev/null || off
program=${{0##*/}}
[ "$program" = .enter ] || set -- {programs}/"$program" "$@"
command=$1
shift
# Field 22 of stat is the start time: the number may belong to another process by now.
same_start() {{ shift 21; [ "$1" = "$started" ]; }}
same_start ${{stat}} || off
case $PWD/ in
    /srv/* | /run/* | /proc/* | /sys/*) where=/ ;;
    *) where=$PWD ;;
esac
export GANETI_HOSTNAME="$node.{name}"
export GANETI_ROOTDIR="$state/nodes/$GANETI_HOSTNAME"
export PATH={programs}:"$PATH"
exec nsenter --target="$pid" --mount --uts --net --pid --wdns="$where" -- "$command" "$@"
"""


def build_enter(plan: Plan, option: str = "") -> str:
    """The script behind all commands. `option` is what `devcluster` needs to find this cluster."""
    return _ENTER.format(
        name=plan.name, state=shlex.quote(plan.state), programs=shlex.quote(machine.PROGRAMS), option=option and " " + option
    )


def find_programs() -> list[str]:
    """Names of the product's commands for people."""
    names = os.listdir(machine.PROGRAMS)
    return sorted(name for name in names if name.startswith(PREFIXES) or name in OTHERS)


def write(plan: Plan, option: str) -> None:
    """Write the folder of commands."""
    ensure_directory(plan.commands)
    write_atomic(os.path.join(plan.commands, ".enter"), build_enter(plan, option), mode=0o755)
    for name in find_programs():
        link = os.path.join(plan.commands, name)
        if not os.path.islink(link):
            os.symlink(".enter", link)


def build_environment(plan: Plan) -> str:
    """Shell code that puts the folder at the head of PATH, once."""
    folder = shlex.quote(plan.commands)
    return f'case ":$PATH:" in *:{folder}:*) ;; *) PATH={folder}:"$PATH"; export PATH ;; esac\n'
