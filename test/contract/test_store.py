"""The store under a killed writer and a full disk: nothing acknowledged is lost, nothing is left half done."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base import proc
from ganeti.base.errors import ConfigError
from ganeti.model.enums import Kind
from ganeti.model.objects import Put
from ganeti.store.reader import Reader
from ganeti.store.writer import Store
from support.objects import make_disk, make_group, make_instance, small_cluster

# Writes as fast as it can, in groups; tells each acknowledged request on its standard output. A request makes an instance with
# its disk and a job of the same number: all of them are there afterwards, or none.
WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from concurrent.futures import wait, FIRST_COMPLETED
from ganeti.model.enums import DiskTemplate
from ganeti.model.objects import Put
from ganeti.store.writer import Store, Write
from support.objects import make_disk, make_instance, make_job

with Store.open(sys.argv[1]) as store:
    node, start = sys.argv[3], int(sys.argv[4])
    pending = {}
    number = start
    while True:
        while len(pending) < 8:
            number += 1
            disk = make_disk(iv_name="disk/0")
            instance = make_instance(node, name=f"inst{number}", disks=(disk.uuid,), disk_template=DiskTemplate.SHAREDFILE)
            request = Write(changes=[Put(disk), Put(instance)], new_jobs=[make_job(number)], token=f"t{number}")
            pending[store.write(request)] = number
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        text = "".join(f"{pending.pop(future)} {future.result().serial}\\n" for future in done)
        sys.stdout.write(text)
        sys.stdout.flush()
"""


def _write_until_killed(path: str, node: str, start: int, seconds: float) -> dict[int, int]:
    """Requests acknowledged by a writer before it was killed: number -> serial."""
    support = str(Path(__file__).parent.parent)
    argv = [sys.executable, "-c", WRITER, path, support, node, str(start)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        # A last line may have been cut off by the kill.
        lines = [line for line in (first + process.stdout.read()).splitlines(keepends=True) if line.endswith("\n")]
    acknowledged = dict(line.split() for line in lines)
    assert acknowledged
    return {int(number): int(serial) for number, serial in acknowledged.items()}


def test_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.db")
    chance = random.Random(os.environ.get("GANETI_TEST_SEED"))
    with Store.open(path, create=True) as store:
        node = store.commit(None, [Put(obj) for obj in small_cluster()]).result().objects[2].uuid
    acknowledged: dict[int, int] = {}
    for turn in range(6):
        acknowledged.update(_write_until_killed(path, node, turn * 1_000_000, chance.uniform(0.0, 0.1)))
        _check_whole(path, acknowledged)
    with Store.open(path) as store:
        number, serial = next(iter(acknowledged.items()))
        assert store.commit(f"t{number}", []).result().serial == serial
        store.commit(None, [Put(make_group())]).result()
        assert store.serial > max(acknowledged.values())


def _check_whole(path: str, acknowledged: dict[int, int]) -> None:
    with Reader(path) as reader:
        assert reader.query("PRAGMA integrity_check", ()) == [("ok",)]
        config = reader.config()
        names = {instance.name for instance in config.instances}
        jobs = {job.id for job in reader.jobs()}
        assert {f"inst{number}" for number in acknowledged} <= names
        assert {f"inst{ident}" for ident in jobs} == names
        assert {disk for instance in config.instances for disk in instance.disks} == {
            disk.uuid for disk in config.rows.all(Kind.DISK)
        }
        rows = reader.log_rows(0, limit=1_000_000, size=1 << 40)
        assert rows is not None
        assert [row[0] for row in rows] == list(range(1, reader.position()[1] + 1))


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    proc.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)])
    try:
        yield path
    finally:
        proc.run(["umount", str(path)])


@pytest.mark.root
def test_full_disk_refuses_changes_until_there_is_room(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk") as disk, Store.open(str(disk / "cluster.db"), create=True) as store:
        node = store.commit(None, [Put(obj) for obj in small_cluster()]).result().objects[2].uuid
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (1 << 20))
        stored = []
        with pytest.raises(ConfigError, match="cannot write the cluster store .* nothing was changed"):
            for _ in range(10_000):
                obj = make_disk()
                store.commit(None, [Put(obj), Put(make_instance(node, osparams={"filler": "x" * 2000}))]).result()
                stored.append(obj.uuid)
        with pytest.raises(ConfigError, match="nothing was changed"):
            store.commit(None, [Put(make_group(ndparams={"oob_program": "x" * 100_000}))]).result()
        ballast.unlink()
        store.commit(None, [Put(make_group(name="room", ndparams={"oob_program": "x" * 100_000}))]).result()
        with Reader(store.path) as reader:
            assert reader.query("PRAGMA integrity_check", ()) == [("ok",)]
            assert {disk.uuid for disk in reader.config().rows.all(Kind.DISK)} == set(stored)
            assert reader.config().find_group("room").serial_no == 1
