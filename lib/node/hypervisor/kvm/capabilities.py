"""What a QEMU binary can do, asked of the binary itself.

It is started once with ``-machine none``, answers a handful of QMP queries (QEMU's QMP reference: "introspection", "machine",
"qom") and ends. The distilled answers are kept on disk beside the guests' files, keyed by path, time and size of the binary.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import CommandError, DecodeError, HypervisorError
from ganeti.base.files import ensure_directory, read_optional, read_text, write_atomic
from ganeti.base.proc import Runner

MINIMUM = (7, 2)
"""The oldest QEMU that takes ``-netdev`` as JSON."""

PROBE_SECONDS = 30.0
FORMAT = 1
"""Changes whenever `Capabilities` or how it is derived does, so that older caches are ignored."""

QUERIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("version", "query-version", {}),
    ("target", "query-target", {}),
    ("machines", "query-machines", {}),
    ("devices", "qom-list-types", {"implements": "device", "abstract": False}),
    ("objects", "qom-list-types", {"implements": "user-creatable", "abstract": False}),
    ("options", "query-command-line-options", {}),
    ("kvm", "query-kvm", {}),
    ("schema", "query-qmp-schema", {}),
)
"""Key in the replies, command, arguments."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine type. `alias` is the unversioned name that stands for it in this binary."""

    name: str
    alias: str = ""
    is_default: bool = False
    deprecated: bool = False
    cpu_max: int = 1


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a binary can do. Names are QEMU's own."""

    version: tuple[int, int, int]
    package: str = ""
    target: str
    """Architecture of its guests, such as ``x86_64``."""
    kvm: bool
    """Built with KVM; whether KVM works here is another question (`accel`)."""
    machines: tuple[Machine, ...]
    devices: frozenset[str]
    objects: frozenset[str]
    options: dict[str, frozenset[str]] = field(default_factory=dict)
    """Command line options that have parameters, and these."""
    commands: frozenset[str] = frozenset()
    block_drivers: frozenset[str] = frozenset()
    aio: frozenset[str] = frozenset()
    migration: frozenset[str] = frozenset()
    """Migration capabilities."""

    @property
    def text(self) -> str:
        return ".".join(map(str, self.version))

    def find_machine(self, name: str) -> Machine | None:
        """The machine of this name or alias; the default one for the empty name."""
        for machine in self.machines:
            if (name in (machine.name, machine.alias)) if name else machine.is_default:
                return machine
        return None

    def has_option(self, option: str, parameter: str) -> bool:
        return parameter in self.options.get(option, frozenset())


@dataclass(frozen=True)
class Cached:
    """The file of a cached answer."""

    format: int
    path: str
    mtime_ns: int
    size: int
    capabilities: Capabilities


# --- from QEMU's answers


def distill(replies: Mapping[str, Any]) -> Capabilities:
    """The capabilities that stand in the answers to `QUERIES`."""
    schema = Schema(replies["schema"])
    version = replies["version"]["qemu"]
    return Capabilities(
        version=(version["major"], version["minor"], version["micro"]),
        package=replies["version"].get("package", ""),
        target=replies["target"]["arch"],
        kvm=bool(replies["kvm"]["present"]),
        machines=tuple(
            Machine(
                name=entry["name"],
                alias=entry.get("alias", ""),
                is_default=entry.get("is-default", False),
                deprecated=entry.get("deprecated", False),
                cpu_max=entry.get("cpu-max", 1),
            )
            for entry in sorted(replies["machines"], key=lambda entry: str(entry["name"]))
        ),
        devices=frozenset(entry["name"] for entry in replies["devices"]),
        objects=frozenset(entry["name"] for entry in replies["objects"]),
        options={
            entry["option"]: frozenset(parameter["name"] for parameter in entry["parameters"])
            for entry in sorted(replies["options"], key=lambda entry: str(entry["option"]))
            if entry["parameters"]
        },
        commands=schema.commands(),
        block_drivers=schema.values("blockdev-add", "driver"),
        aio=schema.values("blockdev-add", "driver=file", "aio"),
        migration=schema.values("migrate-set-capabilities", "capabilities", "capability"),
    )


class Schema:
    """The answer of ``query-qmp-schema``, whose types have numbers for names and refer to one another."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self._types: dict[str, Mapping[str, Any]] = {str(entry["name"]): entry for entry in entries}

    def commands(self) -> frozenset[str]:
        return frozenset(name for name, entry in self._types.items() if entry["meta-type"] == "command")

    def values(self, command: str, *path: str) -> frozenset[str]:
        """Values of the enumeration at `path` inside a command's arguments; empty if there is none.

        A step is a member's name, or ``member=value`` for the variant that this value selects.
        """
        entry = self._types.get(command)
        current = self._types.get(str(entry["arg-type"])) if entry else None
        for step in path:
            current = self._step(current, step)
        if current is None or current["meta-type"] != "enum":
            return frozenset()
        return frozenset(str(value) for value in current["values"])

    def _step(self, current: Mapping[str, Any] | None, step: str) -> Mapping[str, Any] | None:
        while current is not None and current["meta-type"] == "array":
            current = self._types.get(str(current["element-type"]))
        if current is None or current["meta-type"] != "object":
            return None
        member, equals, value = step.partition("=")
        if equals:
            found = (variant["type"] for variant in current.get("variants", ()) if variant["case"] == value)
        else:
            found = (entry["type"] for entry in current["members"] if entry["name"] == member)
        name = next(found, None)
        return self._types.get(str(name)) if name is not None else None


# --- asking, and remembering


class CapabilityStore:
    """Capabilities of the binaries of this node. Safe to use from several threads."""

    def __init__(self, directory: str, runner: Runner) -> None:
        self._directory = directory
        self._runner = runner
        self._known: dict[str, Cached] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Capabilities:
        """What the binary at this absolute path can do. Raises `HypervisorError` if it does not run or is too old."""
        try:
            status = os.stat(path)
        except OSError as err:
            raise HypervisorError(
                f"QEMU binary {path} cannot be used: {err.strerror}; install QEMU or correct the hypervisor parameter kvm_path"
            ) from err
        with self._lock:
            cached = self._known.get(path) or self._load(path)
            if cached is None or (cached.mtime_ns, cached.size) != (status.st_mtime_ns, status.st_size):
                cached = Cached(FORMAT, path, status.st_mtime_ns, status.st_size, probe(path, self._runner))
                self._save(cached)
            self._known[path] = cached
        return _check_version(path, cached.capabilities)

    def _file(self, path: str) -> str:
        return f"{self._directory}/{hashlib.sha256(path.encode()).hexdigest()[:16]}.json"

    def _load(self, path: str) -> Cached | None:
        text = read_optional(self._file(path))
        if text is None:
            return None
        try:
            cached = codec.from_json(Cached, text)
        except DecodeError:
            return None  # written by another version of this software: ask again
        return cached if cached.format == FORMAT and cached.path == path else None

    def _save(self, cached: Cached) -> None:
        ensure_directory(self._directory, 0o700)
        write_atomic(self._file(cached.path), codec.to_json(cached))


def probe(path: str, runner: Runner) -> Capabilities:
    """Start the binary without a machine and ask it. Raises `HypervisorError`."""
    argv = [path, "-machine", "none", "-S", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"]
    commands = [("negotiated", "qmp_capabilities", {}), *QUERIES, ("quit", "quit", {})]
    lines = [codec.dumps({"execute": name, "arguments": arguments, "id": key}) for key, name, arguments in commands]
    # Into a file: QEMU does not wait for a slow reader of a pipe when it quits.
    with tempfile.NamedTemporaryFile(prefix="qemu-probe-") as answers:
        try:
            runner(argv, input="\n".join(lines) + "\n", timeout=PROBE_SECONDS, log_file=answers.name)
        except CommandError as err:
            raise HypervisorError(f"QEMU binary {path} does not work: {err}") from err
        output = read_text(answers.name)
    try:
        return distill(_read_replies(output))
    except (DecodeError, KeyError, TypeError) as err:
        raise HypervisorError(f"QEMU binary {path} gave answers about itself that cannot be understood: {err!r}") from err


def _read_replies(output: str) -> dict[str, Any]:
    messages = [codec.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {message["id"]: message["return"] for message in messages if "return" in message and "id" in message}


def _check_version(path: str, capabilities: Capabilities) -> Capabilities:
    if capabilities.version[:2] < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise HypervisorError(f"QEMU binary {path} has version {capabilities.text}, but at least {wanted} is needed; upgrade it")
    return capabilities
