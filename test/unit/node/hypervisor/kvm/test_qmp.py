"""The connection to a guest, against a QEMU of a few lines that speaks QMP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import codec
from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.qmp import HALTED, Monitor


async def read_messages(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """JSON objects that follow one another without any mark between them, as QMP allows."""
    text = ""
    while data := await reader.read(4096):
        text += data.decode()
        while text:
            try:
                message, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break  # not complete yet
            yield message
            text = text[end:].lstrip()


class Qemu:
    """Speaks QMP on a socket. `answers` are results by command; an exception is a refusal, None is silence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alive = True
        self.commands: list[str] = []
        self.connections = 0
        self.answers: dict[str, Any] = {
            "qmp_capabilities": {},
            "query-status": {"status": "running"},
            "query-cpus-fast": [{}, {}],
            "query-balloon": {"actual": 64 << 20},
            "migrate-start-postcopy": {},
        }
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._talks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        self._server = await asyncio.start_unix_server(self._talk, self.path)

    async def end(self) -> None:
        """The process ends."""
        self.alive = False
        if self._server is not None:
            self._server.close()
        self.hang_up()
        self.path.unlink(missing_ok=True)
        await asyncio.gather(*self._talks)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def tell(self, event: str, **data: Any) -> None:
        self._send({"event": event, "data": data, "timestamp": {"seconds": 1, "microseconds": 500000}})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(codec.dumps(message).encode() + b"\n")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.append(task)
        self.connections += 1
        self._writer = writer
        version = {"qemu": {"major": 8, "minor": 2, "micro": 0}, "package": ""}
        self._send({"QMP": {"version": version, "capabilities": ["oob"]}})
        async for message in read_messages(reader):
            self.commands.append(message["execute"])
            answer = self.answers.get(message["execute"], HypervisorError("unknown command"))
            ident = {"id": message["id"]} if "id" in message else {}
            if isinstance(answer, Exception):
                self._send({"error": {"class": "GenericError", "desc": str(answer)}, **ident})
            elif answer is not None:
                self._send({"return": answer, **ident})


class Watch:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.halted: list[str] = []
        self.ended = 0

    def guest_halted(self, monitor: Monitor, reason: str) -> None:
        self.halted.append(reason)

    def guest_ended(self, monitor: Monitor) -> None:
        self.ended += 1


Work = Callable[[Qemu, Monitor, Watch], Awaitable[None]]


def converse(directory: Path, work: Work, **answers: Any) -> Watch:
    """Run `work` with a connected monitor."""
    watch = Watch()

    async def run() -> None:
        qemu = Qemu(directory / "g.qmp")
        qemu.answers |= answers
        monitor = Monitor("web", str(qemu.path), lambda: qemu.alive, watch)
        monitor.start()
        await asyncio.sleep(0.03)  # QEMU takes its time, so that the first attempts to connect fail
        await qemu.begin()
        assert await monitor.wait_until(lambda found: found.vcpus is not None, 5.0)
        try:
            await work(qemu, monitor, watch)
        finally:
            await monitor.close()
            await qemu.end()

    asyncio.run(run())
    return watch


async def becomes(monitor: Monitor, state: str) -> None:
    assert await monitor.wait_until(lambda found: found.run_state == state, 5.0), monitor.run_state


def test_state_is_known_after_connecting(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        await becomes(monitor, "running")
        assert (monitor.vcpus, monitor.is_connected) == (2, True)
        assert await monitor.wait_until(lambda found: found.memory == 64 << 20, 5.0)

    converse(tmp_path, work)


def test_guest_without_balloon_has_no_known_memory(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        assert monitor.memory is None and monitor.is_connected

    converse(tmp_path, work, **{"query-balloon": HypervisorError("no balloon")})


def test_events_change_the_state(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        qemu.answers["query-status"] = {"status": "io-error"}
        qemu.tell("STOP")
        await becomes(monitor, "io-error")
        qemu.answers["query-status"] = {"status": "running"}
        qemu.tell("RESUME")
        await becomes(monitor, "running")
        qemu.tell("BALLOON_CHANGE", actual=32 << 20)
        assert await monitor.wait_until(lambda found: found.memory == 32 << 20, 5.0)
        assert [event.name for event in monitor.events] == ["STOP", "RESUME", "BALLOON_CHANGE"]
        assert monitor.events[0].time == 1.5

    assert converse(tmp_path, work).halted == []


def test_guest_that_powers_itself_off_is_told_once_with_its_reason(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        qemu.answers["query-status"] = {"status": "shutdown"}
        qemu.tell("SHUTDOWN", guest=True, reason="guest-shutdown")
        qemu.tell("STOP")
        await becomes(monitor, HALTED)
        await monitor.refresh()

    assert converse(tmp_path, work).halted == ["guest-shutdown"]


def test_guest_that_does_something_after_its_end_is_halted_all_the_same(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        qemu.answers["query-status"] = {"status": "prelaunch"}
        for event in ("SHUTDOWN", "STOP", "RESET"):
            qemu.tell(event, guest=True, reason="guest-shutdown")
        await becomes(monitor, HALTED)

    assert converse(tmp_path, work).halted == ["guest-shutdown"]


def test_guest_that_was_halted_before_is_told_without_a_reason(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        await becomes(monitor, HALTED)

    assert converse(tmp_path, work, **{"query-status": {"status": "shutdown"}}).halted == [""]


def test_refused_command_is_an_error_with_the_words_of_qemu(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        with pytest.raises(HypervisorError, match="QEMU of instance web refused 'cont': not now"):
            await monitor.execute("cont")

    converse(tmp_path, work, cont=HypervisorError("not now"))


def test_silence_is_an_error_after_its_time(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        with pytest.raises(HypervisorError, match=r"did not answer 'cont' within 0\.1 s"):
            await monitor.execute("cont", seconds=0.1)
        assert await monitor.execute("query-cpus-fast") == [{}, {}]

    converse(tmp_path, work, cont=None)


def test_end_during_a_command_is_an_error(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        asked = asyncio.ensure_future(monitor.execute("cont"))
        await asyncio.sleep(0.02)
        await qemu.end()
        with pytest.raises(HypervisorError, match="went away during 'cont'"):
            await asked
        assert not await monitor.wait_until(lambda found: found.run_state == "nonsense", 5.0)
        assert monitor.ended
        with pytest.raises(HypervisorError, match="its QEMU has ended"):
            await monitor.execute("cont")

    assert converse(tmp_path, work, cont=None).ended == 1


def test_lost_connection_is_made_again(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        qemu.hang_up()
        assert await monitor.wait_until(lambda found: not found.is_connected or qemu.connections > 1, 5.0)
        assert await monitor.execute("query-cpus-fast") == [{}, {}]
        assert qemu.connections == 2

    assert converse(tmp_path, work).ended == 0


def test_waiting_ends_when_its_time_is_over(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        assert not await monitor.wait_until(lambda found: found.run_state == "paused", 0.02)

    converse(tmp_path, work)


def test_postcopy_begins_with_the_second_pass_where_it_is_wanted(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        for wanted in (False, True):
            monitor.postcopy = wanted
            for number in (1, 2, 3):
                qemu.tell("MIGRATION_PASS", **{"pass": number})
            qemu.tell("MIGRATION", status=f"active {wanted}")
            assert await monitor.wait_until(lambda found, end=f"active {wanted}": found.migration == end, 5.0)  # type: ignore[misc]
            await monitor.execute("query-cpus-fast")
            assert qemu.commands.count("migrate-start-postcopy") == int(wanted)

    converse(tmp_path, work)


def test_number_of_events_kept_is_bounded(tmp_path: Path) -> None:
    async def work(qemu: Qemu, monitor: Monitor, watch: Watch) -> None:
        for number in range(300):
            qemu.tell("RTC_CHANGE", offset=number)
        assert await monitor.wait_until(lambda found: bool(found.events) and found.events[-1].data["offset"] == 299, 5.0)
        assert len(monitor.events) == 100

    converse(tmp_path, work)
