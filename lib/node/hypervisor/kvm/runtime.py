"""What is running: the device model and the parameters a guest was started with, kept in ``conf/<name>.runtime``.

A guest's configuration may have changed since it was started. Whatever concerns the running one (stopping it, moving it)
goes by this file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import DecodeError, HypervisorError
from ganeti.base.files import read_optional, write_atomic
from ganeti.model.objects import Params
from ganeti.node.hypervisor.kvm.devices import Model
from ganeti.node.net.door import Port

log = logging.getLogger(__name__)

VERSION = 1
"""Of the file's format. A change of `Runtime` or `Model` that old files do not fit needs a step in `_upgrade`."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The state of a running guest that QEMU cannot be asked for."""

    version: int = VERSION
    model: Model
    qemu: str
    """Version of the binary."""
    hvparams: Params
    ports: tuple[Port, ...] = ()
    """Its NICs, in the model's order, and where they are connected on this node."""
    arriving: bool = False
    """Started to receive a guest from another node, which has not been confirmed to run here yet."""
    paused: bool = False
    """Whoever started it wanted it paused, or it was when its migration was prepared: it shall not run by itself."""
    chroot: bool = False
    devices: dict[str, str] = field(default_factory=dict)
    """Path of each disk on this node, by the disk's id."""


def save(path: str, runtime: Runtime) -> None:
    """Replace the file."""
    write_atomic(path, codec.to_json(runtime))


def load(path: str) -> Runtime | None:
    """The content of the file, None if there is none. Raises `HypervisorError` if it cannot be understood."""
    text = read_optional(path)
    return None if text is None else parse(text, path)


def load_readable(path: str) -> Runtime | None:
    """As `load`, for whoever can do without: what cannot be understood is logged and None."""
    try:
        return load(path)
    except HypervisorError as err:
        log.warning("%s", err)
        return None


def parse(text: str, source: str) -> Runtime:
    """A runtime from its JSON text; `source` names it in errors."""
    try:
        data = codec.loads(text)
        if not isinstance(data, dict):
            raise DecodeError("", "expected an object")
        return codec.decode(Runtime, _upgrade(data))
    except DecodeError as err:
        raise HypervisorError(
            f"the runtime state of a guest in {source} cannot be understood ({err}); it was probably written by a newer version"
            " of this software: stop the guest with --timeout=0, or upgrade this node"
        ) from err


def _upgrade(data: dict[str, Any]) -> dict[str, Any]:
    version = data.get("version")
    if version != VERSION:
        raise DecodeError("version", f"is {version!r}, this software knows {VERSION}")
    return data


def for_target(runtime: Runtime, *, paused: bool) -> str:
    """The text that the target of a migration gets: without what is true of this node only."""
    ports = tuple(replace(port, tap="") for port in runtime.ports)
    return codec.to_json(replace(runtime, ports=ports, devices={}, arriving=False, paused=paused))
