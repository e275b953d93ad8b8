"""One node as a machine: switching it on and off, entering it, looking at it from outside.

The first process of a node (`devcluster.init`) is recognised by its arguments, which name the state directory and the node, and
by nothing else: a process number in a file may be somebody else's by now.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ganeti
from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.base.files import ensure_directory, read_optional, write_atomic
from ganeti.base.retry import wait_until
from ganeti.tools.devcluster.plan import Node, Plan

INIT_MODULE = "ganeti.tools.devcluster.init"
MARK = "devcluster-init"
START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0
PROGRAMS = os.path.dirname(os.path.abspath(sys.executable))
"""Where the product's commands are: beside the interpreter."""


@dataclass(frozen=True)
class Process:
    """A process of a node, with its number on this host."""

    pid: int
    state: str
    argv: tuple[str, ...]


# --- what runs


def read_stat(pid: int) -> tuple[str, int, int] | None:
    """State letter, parent and start time (clock ticks since boot) of a process; None if there is none."""
    try:
        text = read_optional(f"/proc/{pid}/stat")
    except OSError:
        return None  # it ended while the file was open
    if not text:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def read_argv(pid: int) -> tuple[str, ...]:
    """Arguments of a process; none if it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return tuple(os.fsdecode(word) for word in stream.read().split(b"\0")[:-1])
    except OSError:
        return ()


def list_processes() -> Iterator[int]:
    """Numbers of all processes on this host."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _is_first_process(pid: int) -> bool:
    # In the process namespace that its children get it must be number 1: `unshare`, its parent, has the same arguments.
    text = read_optional(f"/proc/{pid}/status") or ""
    for line in text.splitlines():
        if line.startswith("NSpid:"):
            return line.split()[1:] != [str(pid)] and line.split()[-1] == "1"
    return False


def find_inits(state: str) -> dict[str, int]:
    """First processes of all nodes of the cluster in this state directory: node name -> process id."""
    found = {}
    for pid in list_processes():
        argv = read_argv(pid)
        if len(argv) >= 3 and argv[-3:-1] == (MARK, state) and _is_first_process(pid):
            found[argv[-1]] = pid
    return found


def find_starters(state: str) -> list[int]:
    """The `unshare` processes in which the nodes were made: they wait for the first processes."""
    return [pid for pid in list_processes() if read_argv(pid)[-3:-1] == (MARK, state) and not _is_first_process(pid)]


def find_init(plan: Plan, node: Node) -> int | None:
    """The first process of a node, or None if the node is off. Quick: trusts the file if process and start time fit."""
    words = (read_optional(plan.init_file(node)) or "").split()
    if len(words) != 2:
        return None
    found = read_stat(int(words[0]))
    if found is None or found[0] in "ZX" or found[2] != int(words[1]):
        return None
    return int(words[0])


def require_init(plan: Plan, node: Node) -> int:
    """The first process of a node that must be on."""
    pid = find_init(plan, node)
    if pid is None:
        raise ExecError(f"node {node.name} is off; switch it on with 'devcluster start-node {node.short}'")
    return pid


def find_members(init: int) -> list[Process]:
    """All processes of the node whose first process this is, that one included."""
    try:
        namespace = os.readlink(f"/proc/{init}/ns/pid")
    except OSError:
        return []
    members = []
    for pid in list_processes():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == namespace:
                status = read_stat(pid)
                if status:
                    members.append(Process(pid, status[0], read_argv(pid)))
    return members


# --- entering


def enter(init: int, directory: str | None = None) -> list[str]:
    """The beginning of a command line that runs the rest inside a node."""
    where = [f"--wdns={directory}"] if directory else []
    return ["nsenter", f"--target={init}", "--mount", "--uts", "--net", "--pid", *where, "--"]


def environment(node: Node) -> dict[str, str]:
    """What a process on the node finds in its environment."""
    return {
        **proc.clean_environment(node.paths.environment()),
        "PATH": f"{PROGRAMS}:{proc.SEARCH_PATH}",
        "HOME": "/root",
        "USER": "root",
    }


def run(plan: Plan, node: Node, argv: Sequence[str], *, ok: Sequence[int] = (0,), timeout: float = 60.0) -> proc.Result:
    """Run a command on a node and return what came of it."""
    return proc.run([*enter(require_init(plan, node)), *argv], env=environment(node), ok=ok, timeout=timeout)


# --- switching on


def prepare_root(plan: Plan, node: Node) -> None:
    """Make the directories and links that a node starts with. What the product has put there stays."""
    ensure_directory(node.root)
    for name in ("etc", "etc/ssh", "srv/ganeti/file-storage", "srv/ganeti/os", "var/lib", "var/log", "var/run", "var/lock"):
        ensure_directory(os.path.join(node.root, name))
    ensure_directory(os.path.join(node.root, "root"), 0o700)
    ensure_directory(os.path.join(node.root, "root/.ssh"), 0o700)
    write_atomic(os.path.join(node.root, "etc/hosts"), plan.hosts(), mode=0o644)
    write_atomic(os.path.join(node.root, "etc/hostname"), node.name + "\n", mode=0o644)
    write_atomic(os.path.join(node.root, "etc/shadow"), _unlocked_shadow(), mode=0o600)
    definitions = os.path.join(checkout(), "tools", "os")
    for name in sorted(os.listdir(definitions)):
        link = os.path.join(node.root, "srv/ganeti/os", name)
        if os.path.isdir(os.path.join(definitions, name)) and not os.path.islink(link):
            os.symlink(os.path.join(definitions, name), link)


def checkout() -> str:
    """The folder that holds lib/ and tools/."""
    return os.path.dirname(os.path.dirname(os.path.realpath(ganeti.__file__)))


def _unlocked_shadow() -> str:
    """This host's password file, with a root that has no password but is not locked: sshd refuses locked users."""
    lines = (read_optional("/etc/shadow") or "").splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    return "\n".join(["root:*:19000:0:99999:7:::", *others]) + "\n"


def switch_on(plan: Plan, node: Node) -> int:
    """Start the first process of a node in namespaces of its own; returns its number once the node's mounts are made."""
    for directory in (plan.init_file(node), plan.log_file(node)):
        ensure_directory(os.path.dirname(directory))
    _clear(os.path.join(node.root, "var/run"))
    _clear(os.path.join(node.root, "var/lock"))
    package = os.path.dirname(os.path.dirname(os.path.abspath(ganeti.__file__)))
    program = f"import sys; sys.path.insert(0, {package!r}); from {INIT_MODULE} import main; main()"
    process = proc.start(
        [
            *("unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child"),
            *(sys.executable, "-ISc", program, MARK, plan.state, node.name),
        ],
        env=environment(node),
        cwd="/",
        log_file=plan.log_file(node),
    )

    def started() -> int | None:
        if process.poll() is not None:
            tail = "\n".join((read_optional(plan.log_file(node)) or "").splitlines()[-proc.TAIL_LINES :])
            raise ExecError(f"node {node.name} did not start (see {plan.log_file(node)}):\n{tail}")
        return find_init(plan, node)

    return wait_until(started, timeout=START_TIMEOUT, interval=0.01, what=f"node {node.name} to start") or 0


def _clear(directory: str) -> None:
    """Empty a directory that a real machine keeps in memory only."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


# --- switching off


def switch_off(plan: Plan, node: Node) -> None:
    """Pull the power plug: the kernel ends every process of the node. A node that is off stays so."""
    _kill_and_wait(plan.state, {name: pid for name, pid in find_inits(plan.state).items() if name == node.name})
    with contextlib.suppress(FileNotFoundError):
        os.unlink(plan.init_file(node))


def find_key_makers(state: str) -> list[int]:
    """Processes that still make a key for a node of an `up` that was killed: they would write into what `down` removes."""
    return [pid for pid in list_processes() if _makes_key(read_argv(pid), state)]


def _makes_key(argv: tuple[str, ...], state: str) -> bool:
    return argv[:1] == ("ssh-keygen",) and argv[-1].startswith(f"{state}/nodes/")


def switch_off_all(state: str) -> None:
    """Pull the plugs of all nodes of the cluster in this state directory, also of those whose start never ended."""
    _kill_and_wait(state, find_inits(state))
    left = [*find_starters(state), *find_key_makers(state)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(_lives, left)), timeout=STOP_TIMEOUT, interval=0.01, what=f"processes {left} to end")
    # One that was killed between its fork and its first mount has left a first process behind.
    _kill_and_wait(state, find_inits(state))


def _kill_and_wait(state: str, inits: Mapping[str, int]) -> None:
    waiting = {}
    for name, pid in inits.items():
        with contextlib.suppress(ProcessLookupError):
            waiting[name] = (pid, {member.pid for member in find_members(pid)})
            os.kill(pid, signal.SIGKILL)

    def ended() -> bool:
        return not any(_lives(pid) for pid, _members in waiting.values())

    try:
        # The first process ends last: when it is gone, so are the others.
        wait_until(ended, timeout=STOP_TIMEOUT, interval=0.01, what=f"the processes of {state} to end")
    except Timeout as err:
        left = sorted(member for _pid, members in waiting.values() for member in members if _lives(member))
        raise ExecError(f"{err.message}; processes {left} do not end, maybe they wait for a device") from None


def _lives(pid: int) -> bool:
    found = read_stat(pid)
    return found is not None and found[0] not in "ZX"


# --- freezing


def signal_members(init: int, number: signal.Signals) -> int:
    """Send a signal to every process of a node until no new one appears; returns how many got it.

    The first process is the last to be stopped and the first to go on: the others must not see their parent hang.
    """
    seen: set[int] = set()
    while True:
        fresh = {member.pid for member in find_members(init)} - seen - {init}
        if not fresh:
            break
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        seen |= fresh
    os.kill(init, number)
    return len(seen) + 1


def is_frozen(init: int) -> bool:
    """Whether the node of this first process is stopped by `freeze-node`."""
    found = read_stat(init)
    return found is not None and found[0] == "T"
