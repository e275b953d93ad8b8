"""The KVM hypervisor with real QEMU processes: what the contract of all hypervisors does not know of."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm import runtime
from ganeti.node.hypervisor.kvm.observe import describe_all
from ganeti.rpc.node.replies import RunState
from support.filled import filled_disk
from support.kvmguest import write_disk
from support.kvmnode import KvmNode, eventually, kvm_instance, kvm_node

NAME = "i0.example.com"
I0 = kvm_instance()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KvmNode]:
    with kvm_node(tmp_path / "n1") as found:
        yield found


def state(node: KvmNode, name: str = NAME) -> RunState:
    return node.hypervisor.state(name).state


# --- guests that end by themselves


def test_guest_that_powered_itself_off_stays_known_when_the_agent_is_restarted(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
        serial.send("p")
        eventually(lambda: state(node) is RunState.SHUTDOWN)
    eventually(lambda: node.processes() == [])
    node.restart_agent()
    assert state(node) is RunState.SHUTDOWN
    assert node.leftovers() == [node.files().shutdown_mark]


def test_guest_that_powers_itself_off_while_no_agent_is_there_is_seen_later(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
        node.wait(node.hypervisor.close())
        serial.send("p")
        time.sleep(0.5)
    assert len(node.processes()) == 1
    node.restart_agent()
    eventually(lambda: state(node) is RunState.SHUTDOWN and node.leftovers() == [node.files().shutdown_mark])


def test_guest_that_was_asked_to_power_off_leaves_no_mark(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
    node.hypervisor.stop(NAME, timeout=30.0)
    assert state(node) is RunState.ABSENT
    assert node.leftovers() == []


def test_stop_that_an_agent_did_not_finish_is_not_taken_for_the_guests_wish(node: KvmNode) -> None:
    node.start(I0)
    Path(node.files().stopping_mark).touch()  # all that is left of the agent that was killed
    with node.serial() as serial:
        serial.count()
        serial.send("p")
        eventually(lambda: node.leftovers() == [])
    assert state(node) is RunState.ABSENT


def test_guest_hears_the_power_button(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
    begun = time.monotonic()
    node.hypervisor.stop(NAME, timeout=60.0)
    assert time.monotonic() - begun < 20.0


def test_deaf_guest_is_ended_after_its_time(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
        serial.send("d")
        serial.count()
        serial.count()
        begun = time.monotonic()
        node.hypervisor.stop(NAME, timeout=1.5)
    assert 1.5 <= time.monotonic() - begun < 10.0
    assert node.leftovers() == []


def test_killed_guest_is_absent_and_leaves_nothing(node: KvmNode) -> None:
    node.start(I0)
    os.kill(node.guest().process.pid, signal.SIGKILL)
    eventually(lambda: state(node) is RunState.ABSENT and node.leftovers() == [])


def test_guest_killed_while_no_agent_was_there_leaves_nothing(node: KvmNode) -> None:
    node.start(I0)
    pid = node.guest().process.pid
    node.wait(node.hypervisor.close())
    os.kill(pid, signal.SIGKILL)
    node.restart_agent()
    eventually(lambda: node.hypervisor.states() == [] and node.leftovers() == [])


def test_reboot_of_a_guest_that_may_not_reboot_ends_it_without_a_mark(node: KvmNode) -> None:
    node.start(kvm_instance(reboot_behavior="exit"))
    with node.serial() as serial:
        serial.count()
        serial.send("r")
        eventually(lambda: node.leftovers() == [])
    assert state(node) is RunState.ABSENT


def test_guest_that_may_not_reboot_can_be_reset(node: KvmNode) -> None:
    instance = kvm_instance(reboot_behavior="exit")
    node.start(instance)
    with node.serial() as serial:
        serial.count()
    node.hypervisor.reset(instance)
    assert state(node) is RunState.RUNNING
    with node.serial() as serial:
        assert serial.count() < 5
        serial.send("r")  # its own reboots end it as before
        eventually(lambda: state(node) is RunState.ABSENT)


def test_reset_reboots_inside_the_process(node: KvmNode) -> None:
    node.start(I0)
    pid = node.guest().process.pid
    with node.serial() as serial:
        serial.count()
        node.hypervisor.reset(I0)
        serial.read_until("B")
        assert serial.count() == 1
    assert node.guest().process.pid == pid


# --- restart of the agent


def test_restarted_agent_adopts_running_guests(node: KvmNode) -> None:
    node.start(I0)
    pid = node.guest().process.pid
    node.restart_agent()
    found = node.hypervisor.states()
    assert [(guest.name, guest.state) for guest in found] == [(NAME, RunState.RUNNING)]
    assert node.guest().process.pid == pid
    eventually(lambda: node.hypervisor.state(NAME).memory == 32 and node.hypervisor.state(NAME).vcpus == 1)
    node.hypervisor.stop(NAME, timeout=30.0)
    assert node.leftovers() == []


def test_guest_whose_runtime_state_is_of_another_version_can_be_stopped(node: KvmNode) -> None:
    node.start(I0)
    Path(node.files().runtime).write_text('{"version": 99}')
    node.restart_agent()
    assert state(node) is RunState.RUNNING
    with pytest.raises(HypervisorError, match=r"cannot be understood.*newer version"):
        node.hypervisor.migrate(I0, "tcp:127.0.0.1:9", live=True)
    node.hypervisor.stop(NAME, timeout=30.0)
    assert node.leftovers() == []


def test_process_that_is_not_the_guests_is_not_adopted(node: KvmNode) -> None:
    node.start(I0)
    node.hypervisor.stop(NAME, timeout=0.0, force=True)
    Path(node.files().pid).write_text(f"{os.getpid()}\n")
    assert state(node) is RunState.ABSENT
    node.hypervisor.stop(NAME, timeout=0.0, force=True)
    assert node.leftovers() == []


def test_connection_that_breaks_is_made_again(node: KvmNode) -> None:
    node.start(I0)
    with node.serial() as serial:
        serial.count()
    client = node.guest().monitor._client
    assert client is not None and client._writer is not None
    node.loop.call_soon_threadsafe(client._writer.transport.abort)
    node.hypervisor.stop(NAME, timeout=30.0)
    assert node.leftovers() == []


# --- failures of a start


def test_missing_binary_names_the_parameter(node: KvmNode) -> None:
    with pytest.raises(HypervisorError, match=r"/opt/qemu.*kvm_path"):
        node.start(kvm_instance(kvm_path="/opt/qemu"))
    assert node.leftovers() == []


def test_binary_that_is_no_qemu_is_an_error(node: KvmNode) -> None:
    with pytest.raises(HypervisorError, match=r"/bin/false does not work|/bin/false gave answers"):
        node.start(kvm_instance(kvm_path="/bin/false"))


def test_bad_extra_arguments_fail_with_the_words_of_qemu(node: KvmNode) -> None:
    with pytest.raises(HypervisorError, match=r"i0.example.com.*'no-such-thing' is not a valid device model name"):
        node.start(kvm_instance(kvm_extra="-device no-such-thing"))
    assert node.leftovers() == []
    node.start(I0)


def test_start_that_fails_late_leaves_nothing(node: KvmNode) -> None:
    with pytest.raises(HypervisorError, match="cpu_mask has 2 parts"):
        node.start(kvm_instance(cpu_mask="0:0"))
    eventually(lambda: node.leftovers() == [])


def test_wrong_parameters_are_all_named_before_anything_is_started(node: KvmNode) -> None:
    with pytest.raises(HypervisorError, match=r"disk_type must be one of.*kernel_path /boot/nothing does not exist"):
        node.start(kvm_instance(disk_type="tape", kernel_path="/boot/nothing"))
    assert node.leftovers() == []


def test_disk_that_another_guest_uses_is_refused(node: KvmNode) -> None:
    node.start(I0)
    with pytest.raises(HypervisorError, match="write"):
        node.start(kvm_instance("other.example.com"))
    assert state(node, "other.example.com") is RunState.ABSENT


def test_parameters_are_validated_with_the_real_binary(node: KvmNode) -> None:
    validate = node.hypervisor.validate
    assert validate(I0.hvparams) == ""
    assert "no machine type 'pdp11'" in validate({**I0.hvparams, "machine_version": "pdp11"})
    assert "no migration capability 'teleport'" in validate({**I0.hvparams, "migration_caps": "xbzrle:teleport"})
    assert "no parameter colour" in validate({**I0.hvparams, "colour": "red"})


# --- as asked


def test_machine_type_is_pinned(node: KvmNode) -> None:
    node.start(I0)
    known = runtime.load(node.files().runtime)
    assert known is not None
    assert known.model.machine.startswith("pc-i440fx-")


def test_virtual_processors_are_pinned(node: KvmNode) -> None:
    node.start(kvm_instance(cpu_mask="0"))
    monitor = node.guest().monitor
    threads: list[int] = []

    async def ask() -> None:
        threads.extend(cpu["thread-id"] for cpu in await monitor.execute("query-cpus-fast"))

    node.wait(ask())
    assert [os.sched_getaffinity(thread) for thread in threads] == [{0}]


def test_guest_runs_as_the_user_chosen(node: KvmNode) -> None:
    node.start(kvm_instance(security_model="user", security_domain="nobody", use_chroot=True))
    process = psutil.Process(node.guest().process.pid)
    assert process.username() == "nobody"
    with node.serial() as serial:
        serial.count()
    node.hypervisor.stop(NAME, timeout=0.0, force=True)
    assert node.leftovers() == []


def test_users_of_the_pool_are_taken_once(node: KvmNode, tmp_path: Path) -> None:
    Path(node.paths.data).mkdir(parents=True)
    Path(node.paths.ssconf("uid_pool")).write_text("64100-64101\n")
    pooled = kvm_instance(security_model="pool")
    others = []
    for index in (1, 2):
        disk = tmp_path / f"more{index}"
        write_disk(disk)
        others.append((kvm_instance(f"i{index}.example.com", security_model="pool"), [str(disk)]))
    node.start(pooled)
    node.hypervisor.start(*others[0])
    uids = {psutil.Process(node.guest(name).process.pid).uids().real for name in (NAME, "i1.example.com")}
    assert uids == {64100, 64101}
    with pytest.raises(HypervisorError, match="all 2 users"):
        node.hypervisor.start(*others[1])
    node.hypervisor.stop(NAME, timeout=0.0, force=True)
    node.hypervisor.start(*others[1])


def test_display_is_protected_by_the_password_in_the_file(node: KvmNode, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("sesame\n")
    node.start(kvm_instance(vnc_bind_address=str(tmp_path), vnc_password_file=str(password)))
    answer: dict[str, object] = {}

    async def ask() -> None:
        answer.update(await node.guest().monitor.execute("query-vnc"))

    found = node.guest()
    assert (tmp_path / f"{NAME}.vnc").is_socket()
    assert all("sesame" not in word for words in node.processes() for word in words)
    assert found.monitor.is_connected
    node.wait(ask())
    assert answer["auth"] == "vnc"


def test_long_names_have_room(node: KvmNode) -> None:
    name = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.example.com"
    node.start(kvm_instance(name))
    with node.serial(name) as serial:
        serial.count()
    node.hypervisor.stop(name, timeout=30.0)
    assert node.leftovers() == []


def test_guest_without_disk_starts(node: KvmNode) -> None:
    node.hypervisor.start(replace(I0, disks=()), [])
    assert state(node) is RunState.RUNNING


def test_console_command_leads_to_the_serial_port(node: KvmNode) -> None:
    node.start(I0)
    console = node.hypervisor.console(I0, "node1.example.com")
    assert (console.kind, console.host, console.command[1:]) == ("ssh", "node1.example.com", [node.files().serial, NAME])


def test_states_of_many_guests_take_no_time(node: KvmNode, tmp_path: Path) -> None:
    for index in range(8):
        disk = tmp_path / f"many{index}"
        write_disk(disk)
        instance = replace(kvm_instance(f"m{index}.example.com"), disks=(filled_disk(),))
        node.hypervisor.start(instance, [str(disk)], paused=True)
    begun = time.monotonic()
    for _ in range(10):
        found = describe_all(node.hypervisor._guests, node.hypervisor._places)
    assert len(found) == 8
    assert (time.monotonic() - begun) / 80 < 0.005  # per guest: 100 of them within half a second on a busy machine


def test_guests_are_started_side_by_side(node: KvmNode, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def start(index: int) -> None:
        disk = tmp_path / f"side{index}"
        write_disk(disk)
        try:
            node.hypervisor.start(kvm_instance(f"s{index}.example.com"), [str(disk)])
        except HypervisorError as err:
            errors.append(err)

    threads = [threading.Thread(target=start, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [found.state for found in node.hypervisor.states()] == [RunState.RUNNING] * 4
