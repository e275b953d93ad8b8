from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import codec
from ganeti.base.errors import HypervisorError
from ganeti.base.proc import Call, RecordingRunner
from ganeti.node.hypervisor.kvm.capabilities import CapabilityStore, Schema, distill, probe

SCHEMA = [
    {"name": "blockdev-add", "meta-type": "command", "arg-type": "1"},
    {
        "name": "1",
        "meta-type": "object",
        "members": [{"name": "driver", "type": "2"}],
        "variants": [{"case": "file", "type": "3"}, {"case": "raw", "type": "9"}],
    },
    {"name": "2", "meta-type": "enum", "values": ["file", "raw"]},
    {"name": "3", "meta-type": "object", "members": [{"name": "aio", "type": "4"}]},
    {"name": "4", "meta-type": "enum", "values": ["threads", "io_uring"]},
    {"name": "migrate-set-capabilities", "meta-type": "command", "arg-type": "5"},
    {"name": "5", "meta-type": "object", "members": [{"name": "capabilities", "type": "6"}]},
    {"name": "6", "meta-type": "array", "element-type": "7"},
    {"name": "7", "meta-type": "object", "members": [{"name": "capability", "type": "8"}]},
    {"name": "8", "meta-type": "enum", "values": ["xbzrle"]},
    {"name": "STOP", "meta-type": "event", "arg-type": "9"},
    {"name": "9", "meta-type": "object", "members": []},
]


def replies(**changes: Any) -> dict[str, Any]:
    return {
        "version": {"qemu": {"major": 8, "minor": 2, "micro": 1}, "package": "x"},
        "target": {"arch": "x86_64"},
        "machines": [{"name": "pc-8.2", "alias": "pc", "is-default": True, "cpu-max": 255}, {"name": "none"}],
        "devices": [{"name": "virtio-blk-pci"}],
        "objects": [{"name": "rng-random"}],
        "options": [{"option": "run-with", "parameters": [{"name": "user"}]}, {"option": "empty", "parameters": []}],
        "kvm": {"present": True, "enabled": False},
        "schema": SCHEMA,
        **changes,
    }


class Qemu:
    """Answers queries as the binary does: a greeting, then a reply to each command, with noise between."""

    def __init__(self, **changes: Any) -> None:
        self.answers = replies(**changes)
        self.started = 0

    def __call__(self, call: Call) -> str:
        self.started += 1
        assert call.input is not None and call.log_file is not None
        commands = [codec.loads(line) for line in call.input.splitlines()]
        assert commands[-1]["execute"] == "quit"
        lines = ["warning: noise", codec.dumps({"QMP": {}}), codec.dumps({"event": "RESUME"})]
        lines += [codec.dumps({"return": self.answers.get(command["id"], {}), "id": command["id"]}) for command in commands]
        Path(call.log_file).write_text("\n".join(lines))
        return ""


def make_binary(directory: Path) -> str:
    path = directory / "qemu"
    path.write_text("")
    return str(path)


def make_store(directory: Path, qemu: Qemu) -> CapabilityStore:
    return CapabilityStore(str(directory / "cache"), RecordingRunner([((), qemu)]))


def test_enumerations_are_found_through_numbered_types() -> None:
    schema = Schema(SCHEMA)
    assert schema.values("blockdev-add", "driver") == {"file", "raw"}
    assert schema.values("blockdev-add", "driver=file", "aio") == {"threads", "io_uring"}
    assert schema.values("migrate-set-capabilities", "capabilities", "capability") == {"xbzrle"}


@pytest.mark.parametrize(
    "path", [("no-such-command",), ("blockdev-add", "colour"), ("blockdev-add", "driver=raw", "aio"), ("blockdev-add",)]
)
def test_what_is_not_there_has_no_values(path: tuple[str, ...]) -> None:
    assert Schema(SCHEMA).values(*path) == frozenset()


def test_answers_are_distilled() -> None:
    found = distill(replies())
    assert found.version == (8, 2, 1) and found.text == "8.2.1" and found.kvm
    assert found.commands == {"blockdev-add", "migrate-set-capabilities"}
    assert found.options == {"run-with": {"user"}}
    assert found.has_option("run-with", "user") and not found.has_option("run-with", "chroot")
    assert [machine.name for machine in found.machines] == ["none", "pc-8.2"]


def test_machines_are_found_by_name_by_alias_and_by_default() -> None:
    found = distill(replies())
    for name in ("pc-8.2", "pc", ""):
        machine = found.find_machine(name)
        assert machine is not None and machine.name == "pc-8.2"
    assert found.find_machine("q35") is None


def test_capabilities_survive_json() -> None:
    found = distill(replies())
    assert codec.from_json(type(found), codec.to_json(found)) == found


def test_binary_is_asked_once(tmp_path: Path) -> None:
    qemu, path = Qemu(), make_binary(tmp_path)
    store = make_store(tmp_path, qemu)
    assert store.get(path) == store.get(path) == make_store(tmp_path, qemu).get(path) == distill(replies())
    assert qemu.started == 1


def test_replaced_binary_is_asked_again(tmp_path: Path) -> None:
    qemu, path = Qemu(), make_binary(tmp_path)
    store = make_store(tmp_path, qemu)
    store.get(path)
    os.utime(path, (1, 1))
    qemu.answers = replies(version={"qemu": {"major": 9, "minor": 0, "micro": 0}})
    assert store.get(path).version == (9, 0, 0)


@pytest.mark.parametrize("text", ["", "{", '{"format": 0}'])
def test_damaged_cache_is_ignored(tmp_path: Path, text: str) -> None:
    qemu, path = Qemu(), make_binary(tmp_path)
    make_store(tmp_path, qemu).get(path)
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_text(text)
    assert make_store(tmp_path, qemu).get(path).version == (8, 2, 1)


def test_old_qemu_is_refused(tmp_path: Path) -> None:
    qemu = Qemu(version={"qemu": {"major": 7, "minor": 1, "micro": 9}})
    with pytest.raises(HypervisorError, match=r"version 7\.1\.9, but at least 7\.2"):
        make_store(tmp_path, qemu).get(make_binary(tmp_path))


def test_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match=r"/opt/qemu cannot be used.*kvm_path"):
        make_store(tmp_path, Qemu()).get("/opt/qemu")


def test_binary_that_fails_is_an_error_with_its_words() -> None:
    with pytest.raises(HypervisorError, match="/opt/qemu does not work"):
        probe("/opt/qemu", RecordingRunner([((), 1)]))


def test_incomplete_answers_are_an_error() -> None:
    qemu = Qemu()
    qemu.answers["version"] = {}
    with pytest.raises(HypervisorError, match="cannot be understood"):
        probe("/opt/qemu", RecordingRunner([((), qemu)]))
