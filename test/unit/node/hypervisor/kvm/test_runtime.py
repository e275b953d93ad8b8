from __future__ import annotations

from pathlib import Path

import pytest
from golden.kvm.cases import CASES, build_instance, build_model

from ganeti.base import codec
from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm import launch, runtime
from ganeti.node.hypervisor.kvm.runtime import Runtime


def make(name: str = "plain") -> Runtime:
    case = CASES[name]
    instance = build_instance(case)
    ports = tuple(
        port if index else type(port)(port.instance, index, port.nic, "gnt0", port.tags)
        for index, port in enumerate(launch.describe_ports(instance))
    )
    return Runtime(model=build_model(case), qemu="7.2.1", hvparams=instance.hvparams, ports=ports, devices={"disk-x": "/dev/x"})


@pytest.mark.parametrize("name", CASES)
def test_every_guest_survives_its_file(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x.runtime")
    runtime.save(path, make(name))
    assert runtime.load(path) == make(name)


def test_missing_file_is_none(tmp_path: Path) -> None:
    assert runtime.load(str(tmp_path / "none")) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}', '{"version": 1, "colour": "red"}'])
def test_file_that_cannot_be_understood_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "web.runtime"
    path.write_text(text)
    with pytest.raises(HypervisorError, match=r"web\.runtime cannot be understood"):
        runtime.load(str(path))


def test_target_is_told_nothing_of_this_node() -> None:
    found = runtime.parse(runtime.for_target(make(), paused=True), "test")
    assert [port.tap for port in found.ports] == [""]
    assert found.devices == {} and found.paused and not found.arriving
    assert found.model == make().model


def test_file_is_for_root_only(tmp_path: Path) -> None:
    path = tmp_path / "x.runtime"
    runtime.save(str(path), make())
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_names_its_version() -> None:
    assert codec.loads(codec.to_json(make()))["version"] == runtime.VERSION
