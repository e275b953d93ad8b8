"""The OS definitions `tiny` and `noop`, for real: guests that boot under emulation on two nodes of a devcluster."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import Timeout
from ganeti.base.retry import wait_until
from ganeti.tools.devcluster import machine
from ganeti.tools.devcluster.plan import Node, Plan, from_json, plan_file

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
OS = ROOT / "tools" / "os"
TOOL = ROOT / "tools" / "devcluster"
SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
BOOT = 60.0


def script(
    name: str, environment: Mapping[str, str], *argv: str, status: int = 0, data: bytes | None = None, base: Path = OS
) -> subprocess.CompletedProcess[bytes]:
    """Run a script as the node daemon does: from its own folder, with a clean environment."""
    path = base / name
    done = subprocess.run(
        [path, *argv],
        cwd=path.parent,
        env={"PATH": SEARCH_PATH, "OS_API_VERSION": "20", **environment},
        input=data,
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == status, done.stderr.decode()
    return done


# --- scripts


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, ""),
        ({"OSP_ADDRESS": "192.0.2.7/24", "OSP_GATEWAY": "192.0.2.1"}, ""),
        ({"OSP_ADDRESS": "2001:db8::7/64"}, ""),
        ({"OSP_SSH_KEY": "# two keys\nssh-ed25519 AAAAC3 a\nno-pty ssh-rsa AAAAB3 b"}, ""),
        ({"OSP_ADDRESS": "192.0.2.7"}, "parameter address is '192.0.2.7', which is not ADDRESS/PREFIX"),
        ({"OSP_ADDRESS": "192.0.2.7/33"}, "parameter address"),
        ({"OSP_ADDRESS": "192.0.2.256/24"}, "parameter address"),
        ({"OSP_GATEWAY": "nobody"}, "parameter gateway is 'nobody'"),
        ({"OSP_SSH_KEY": "secret"}, "parameter ssh_key"),
        ({"OSP_ROOT_PASSWORD": "two\nlines"}, "parameter root_password"),
        ({"OSP_CACHE_DIR": "here"}, "parameter cache_dir is 'here'"),
    ],
)
def test_verify_names_the_parameter_that_is_wrong(parameters: dict[str, str], problem: str) -> None:
    done = script("tiny/verify", parameters, "parameters", status=1 if problem else 0)
    assert problem in done.stderr.decode()
    assert ("remedy: " in done.stderr.decode()) == bool(problem)


def test_verify_refuses_checks_it_does_not_know() -> None:
    assert b"asked to check 'weather'" in script("tiny/verify", {}, "weather", status=1).stderr


def test_disk_that_is_missing_or_too_small_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"x" * 1048576)
    base = {"INSTANCE_NAME": "i0.example", "NIC_COUNT": "0"}
    assert b"has no disk" in script("tiny/create", {**base, "DISK_COUNT": "0"}, status=1).stderr
    assert b"neither a file nor" in script("tiny/create", {**base, "DISK_0_PATH": str(tmp_path / "no")}, status=1).stderr
    assert b"disk 0 has 1 MiB" in script("tiny/create", {**base, "DISK_0_PATH": str(small)}, status=1).stderr
    assert small.read_bytes() == b"x" * 1048576
    assert b"there is no guest" in script("tiny/rename", {**base, "DISK_0_PATH": str(small)}, status=1).stderr


def test_noop_does_nothing_and_says_so(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"data")
    environment = {"INSTANCE_NAME": "i0.example"} | dict.fromkeys(("DISK_0_PATH", "EXPORT_DEVICE", "IMPORT_DEVICE"), str(disk))
    for name in ("create", "rename"):
        assert b"nothing to do" in script(f"noop/{name}", environment).stdout
    assert script("noop/export", environment).stdout == b""
    assert script("noop/import", environment, data=b"a dump" * 100000).stdout == b""
    script("noop/verify", {}, "parameters")
    assert disk.read_bytes() == b"data"


def test_image_is_built_once(image: Path) -> None:
    assert sorted(os.listdir(image)) == ["root.img", "vmlinuz"]
    start = time.monotonic()
    assert script("tiny/build-image", {}).stdout.decode().strip() == str(image)
    assert time.monotonic() - start < 5


def test_killed_build_leaves_nothing_that_counts_as_an_image(image: Path, tmp_path: Path) -> None:
    kernel = next(iter(Path("/boot").glob("vmlinuz-*")), None)
    environment = {"PATH": SEARCH_PATH, "OSP_CACHE_DIR": str(tmp_path)}
    if kernel is not None and not shutil.which("apt-get"):
        environment["TINY_KERNEL"] = str(kernel)
    with subprocess.Popen(
        [OS / "tiny" / "build-image"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        wait_until(lambda: any(name.startswith(".new-") for name in os.listdir(tmp_path)), timeout=30, interval=0.01)
        os.killpg(process.pid, 9)
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
    built = script("tiny/build-image", {"OSP_CACHE_DIR": str(tmp_path)}).stdout.decode().strip()
    assert sorted(name for name in os.listdir(tmp_path) if name != ".lock") == [Path(built).name]
    assert (Path(built) / "root.img").read_bytes() == (image / "root.img").read_bytes()


# --- guests


@pytest.fixture(scope="module")
def image() -> Path:
    """The folder of kernel and root file system, in the usual cache: it costs a download only once on a machine."""
    return Path(script("tiny/build-image", {}).stdout.decode().strip())


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """Two machines with a bridge for guests on each."""
    state = str(tmp_path_factory.mktemp("tiny") / "state")
    argv = [sys.executable, str(TOOL), "--name", f"g{os.getpid() % 10**6}", "--state", state]
    try:
        subprocess.run([*argv, "up", "--bare", "--nodes", "2"], check=True, capture_output=True, timeout=120)
        yield from_json(Path(plan_file(state)).read_text())
    finally:
        subprocess.run([*argv, "down"], check=True, capture_output=True, timeout=120)


class Qmp:
    """A conversation with QEMU's monitor."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rw")
        self._stream.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        while True:
            answer = json.loads(self._stream.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@dataclass
class Guest:
    """A running QEMU with a guest of ours."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    started: float
    mac: str

    @property
    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")

    def wait_for_ping(self) -> float:
        """Wait until the guest answers; seconds since power-on."""
        command = ["ping", "-c", "1", "-W", "0.2", self.address]

        def answers() -> bool:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        wait_until(answers, timeout=BOOT, interval=0.02, what=f"{self.address} to answer")
        return time.monotonic() - self.started

    def count(self) -> int:
        """The guest's counter, over its TCP port 7."""
        with socket.create_connection((self.address, 7), timeout=5) as connection:
            return int(connection.makefile().readline())

    def wait_for_count(self) -> int:
        def answer() -> int:
            try:
                return self.count()
            except (OSError, ValueError):
                return 0

        return wait_until(answer, timeout=BOOT, interval=0.05, what="the counter")

    def type(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "console"))
            connection.sendall(text.encode())
            time.sleep(0.1)  # QEMU drops what it has not read when the connection ends

    def wait_for_console(self, text: str, times: int = 1) -> None:
        try:
            wait_until(lambda: self.console.count(text) >= times, timeout=BOOT, interval=0.05, what=repr(text))
        except Timeout as err:
            raise AssertionError(f"{err}; console:\n{self.console}") from None


@contextmanager
def running(plan: Plan, node: Node, disk: Path, folder: Path, *, kind: str, mac: str, incoming: str = "") -> Iterator[Guest]:
    """A guest on a node, from power-on until QEMU ends."""
    folder.mkdir(exist_ok=True)
    enter = machine.enter(machine.require_init(plan, node))
    tap = f"tap{mac[-2:]}"
    subprocess.run([*enter, "ip", "tuntap", "add", "dev", tap, "mode", "tap"], check=True)
    subprocess.run([*enter, "ip", "link", "set", tap, "master", "br0", "up"], check=True)
    argv = ["qemu-system-x86_64", "-M", kind, "-accel", "tcg", "-cpu", "qemu64", "-m", "128", "-nodefaults"]
    argv += ["-display", "none", "-vga", "none", "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
    argv += ["-chardev", f"socket,id=c,path={folder}/console,server=on,wait=off,logfile={folder}/console.log"]
    argv += ["-serial", "chardev:c"]
    argv += ["-blockdev", f"driver=file,filename={disk},node-name=f,locking=off", "-blockdev", "driver=raw,file=f,node-name=d"]
    argv += ["-device", "virtio-blk-pci,drive=d,bootindex=1", "-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no"]
    argv += ["-device", f"virtio-net-pci,netdev=n,mac={mac},romfile="]
    argv += ["-incoming", incoming] if incoming else []
    started = time.monotonic()
    process = subprocess.Popen([*enter, *argv])
    try:
        wait_until(lambda: (folder / "qmp").exists() or process.poll() is not None, timeout=20, interval=0.01)
        yield Guest(process, plan.guest_address(int(mac[-2:])), folder, started, mac)
    finally:
        process.kill()
        process.wait()
        subprocess.run([*enter, "ip", "link", "del", tap], check=True)


def settings(plan: Plan, number: int, disk: Path, **more: str) -> dict[str, str]:
    """What the node daemon tells of an instance with one disk and one card."""
    return {
        "INSTANCE_NAME": f"i{number}.{plan.name}",
        "DISK_COUNT": "1",
        "DISK_0_PATH": str(disk),
        "NIC_COUNT": "1",
        "NIC_0_MAC": f"AA:00:00:00:00:0{number}",
        "NIC_0_IP": plan.guest_address(number),
        **more,
    }


def new_disk(path: Path) -> Path:
    with path.open("wb") as stream:
        stream.truncate(512 * 1048576)
    return path


def ssh(plan: Plan, node: Node, guest: Guest, command: str) -> str:
    enter = machine.enter(machine.require_init(plan, node))
    options = ["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "UserKnownHostsFile=/dev/null"]
    argv = [*enter, "ssh", *options, f"root@{guest.address}", command]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr}"


def test_guest_boots_answers_logs_in_reboots_and_powers_off(plan: Plan, image: Path, tmp_path: Path) -> None:
    node = plan.nodes[0]
    disk = new_disk(tmp_path / "disk")
    # Called by way of the node's root directory, it finds the key of the node's root.
    script("tiny/create", settings(plan, 1, disk), base=Path(node.paths.os_search_path[0]))
    with running(plan, node, disk, tmp_path / "run", kind="q35", mac="aa:00:00:00:00:01") as guest:
        seconds = guest.wait_for_ping()
        print(f"power-on to ping: {seconds:.1f} s")
        assert seconds < 30  # a machine that is busy; alone it is 3 s
        first = guest.wait_for_count()
        wait_until(lambda: guest.count() >= first + 5, timeout=20, interval=0.1)
        assert ssh(plan, node, guest, "hostname; id -u; cat /proc/mounts | grep -c /disk") == f"i1.{plan.name}\n0\n1"
        guest.wait_for_console("login: ")
        guest.type("root\n")
        guest.wait_for_console(":~# ")
        guest.type("echo on-the-$((1+1))nd-console\n")
        guest.wait_for_console("on-the-2nd-console")
        guest.type("reboot\n")
        guest.wait_for_console("login: ", 2)
        guest.wait_for_ping()
        monitor = Qmp(guest.folder / "qmp")
        # The button works as soon as its driver is there, some moments after the first ping.
        wait_until(lambda: ssh(plan, node, guest, "pidof acpid").isdigit(), timeout=BOOT, interval=0.2)
        monitor("system_powerdown")
        assert guest.process.wait(timeout=30) == 0
        monitor.close()


def test_guest_with_password_is_moved_renamed_and_migrated(plan: Plan, image: Path, tmp_path: Path) -> None:
    source, target = plan.nodes
    original, disk = new_disk(tmp_path / "original"), new_disk(tmp_path / "copy")
    key = (Path(source.paths.ssh_directory) / "id_ed25519.pub").read_text().strip()
    parameters = {"OSP_SSH_KEY": key, "OSP_ROOT_PASSWORD": "p'a \"ss$"}
    script("tiny/create", settings(plan, 7, original, **parameters))
    dump = script("tiny/export", {"EXPORT_DEVICE": str(original), "EXPORT_INDEX": "0"}).stdout
    script("tiny/import", {**settings(plan, 2, disk), "IMPORT_DEVICE": str(disk), "IMPORT_INDEX": "0"}, data=dump)
    script("tiny/rename", {**settings(plan, 2, disk), "INSTANCE_NAME": f"new.{plan.name}", "OLD_INSTANCE_NAME": "i2"})
    mac = "aa:00:00:00:00:02"
    with running(plan, source, disk, tmp_path / "source", kind="pc", mac=mac) as guest:
        guest.wait_for_ping()
        before = guest.wait_for_count()
        assert ssh(plan, source, guest, "hostname") == f"new.{plan.name}"
        guest.wait_for_console("login: ")
        guest.type("root\n")
        guest.wait_for_console("Password:")
        guest.type("p'a \"ss$\n")
        guest.wait_for_console(":~# ")
        with running(plan, target, disk, tmp_path / "target", kind="pc", mac=mac, incoming="tcp:0:4444") as arrived:
            # Its monitor answers once it listens for the guest.
            Qmp(arrived.folder / "qmp").close()
            migrate(guest, target)
            after = arrived.count()
            print(f"counter {before} -> {after}")
            assert before < after < before + 600  # went on, did not start again
            assert ssh(plan, source, arrived, "cat /proc/uptime").split()[0] > "0"
            wait_until(lambda: arrived.count() > after + 3, timeout=20, interval=0.1)


def migrate(guest: Guest, target: Node) -> None:
    monitor = Qmp(guest.folder / "qmp")
    monitor("migrate-set-parameters", **{"max-bandwidth": 10**9})
    monitor("migrate", uri=f"tcp:{target.address}:4444")
    wait_until(lambda: monitor("query-migrate").get("status") in ("completed", "failed"), timeout=60, interval=0.05)
    found = monitor("query-migrate")
    monitor.close()
    assert found["status"] == "completed", found
    print(f"migrated in {found['total-time']} ms, downtime {found['downtime']} ms")
