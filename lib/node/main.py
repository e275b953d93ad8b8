"""``ganeti-noded``, the node agent: puts the parts together, and takes them apart when it is told to stop.

Guests do not depend on the agent: it finds them again when it starts.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import ssl
import threading
from collections.abc import Callable, Sequence

from ganeti.base import proc, x509
from ganeti.base.daemon import install_signal_handlers, run_daemon
from ganeti.base.errors import ExecError, NoCluster
from ganeti.base.files import ensure_directory
from ganeti.base.paths import Paths
from ganeti.node.calls.blockdev import BlockdevCalls
from ganeti.node.calls.instance import InstanceCalls
from ganeti.node.calls.node import NodeCalls
from ganeti.node.calls.os import OsCalls
from ganeti.node.dispatch import Dispatcher, build_table
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.net.netlink import LinuxNet
from ganeti.node.server import CallServer, Limits
from ganeti.node.services import Services, build_services
from ganeti.node.ssconf import Ssconf
from ganeti.node.trust import Callers
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.nodes import PORT

log = logging.getLogger(__name__)

NAME = "ganeti-noded"
GRACE = 5.0
"""Seconds that running calls get when the agent stops; scripts are ended then."""
LAST_GRACE = 3.0
FILES = 65536


def listen_address(paths: Paths) -> str:
    """This node's primary address as the cluster knows it; every address where it does not."""
    ssconf = Ssconf(paths)
    addresses = ssconf.mapping("node_primary_ips")
    own = paths.hostname
    found = addresses.get(own) or next((ip for name, ip in addresses.items() if name.split(".")[0] == own), None)
    return found or ("::" if ssconf.value("primary_ip_family") == "10" else "0.0.0.0")


def build_calls(services: Services) -> dict[type, object]:
    """What implements each declared API."""
    return {
        InstanceApi: InstanceCalls(services),
        BlockdevApi: BlockdevCalls(services),
        OsApi: OsCalls(services),
        NodeApi: NodeCalls(services),
    }


class Agent:
    """One node agent, for the life of the event loop that runs."""

    def __init__(self, paths: Paths, *, address: str, port: int = PORT, limits: Limits | None = None) -> None:
        self._paths = paths
        self._address = address
        self._port = port
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Answer calls until `stop`. Raises `NoCluster` (this host is no node), `ExecError` (the port cannot be had)."""
        loop = self._loop
        context = self._load_certificates()
        doors = HypervisorEnvironment(self._paths, loop, proc.run, LinuxNet(self._paths, proc.run))
        services = build_services(doors, self._port, self.stop_from_thread)
        dispatcher = Dispatcher(build_table(build_calls(services)))
        server = CallServer(dispatcher, Callers(self._paths).identify, services.epochs, self._limits)
        install_signal_handlers(loop, self.stop, lambda: self._reload(context))
        try:
            port = await server.start(self._address, self._port, context)
        except OSError as err:
            raise ExecError(
                f"cannot listen at {self._address} port {self._port}: {err.strerror or err}; "
                "is that address on this host, and the port free?"
            ) from err
        log.info("listening at %s port %d", self._address, port)
        adopt = threading.Thread(target=services.hypervisors.open, args=(services.ssconf.lines("hypervisor_list"),), daemon=True)
        adopt.start()
        ready()
        await self._stop.wait()
        await _shut_down(services, dispatcher, server)

    def stop(self) -> None:
        """End `run`. Belongs to the loop's thread."""
        self._stop.set()

    def stop_from_thread(self) -> None:
        """As `stop`, from any thread."""
        self._loop.call_soon_threadsafe(self.stop)

    def _load_certificates(self) -> ssl.SSLContext:
        for path in (self._paths.node_certificate, self._paths.ca_certificate):
            if not os.path.exists(path):
                raise NoCluster(f"this host is not in a cluster: {path} is missing; add it with 'gnt-node add' on the master")
        return x509.server_context(self._paths.node_certificate, self._paths.ca_certificate)

    def _reload(self, context: ssl.SSLContext) -> None:
        """New connections use what is in the files now."""
        try:
            context.load_cert_chain(self._paths.node_certificate)
            context.load_verify_locations(self._paths.ca_certificate)
        except OSError as err:
            log.error("certificates cannot be loaded again, the old ones stay in use: %s", err)


async def _shut_down(services: Services, dispatcher: Dispatcher, server: CallServer) -> None:
    server.close_listener()
    if not await dispatcher.close(GRACE):
        log.warning("%d calls still run; their scripts are ended now", dispatcher.running)
        await asyncio.to_thread(services.scripts.close)
        await dispatcher.close(LAST_GRACE)
    await server.close(1.0)
    await services.hypervisors.close()
    services.replica.close()


def raise_file_limit() -> None:
    """Let this process have as many files open as the system allows: the usual 1024 are soon used up by guests and callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_directories(paths: Paths) -> None:
    """The directories an agent needs, with their modes. One that is there keeps its own."""
    modes = {
        paths.data: 0o750,
        paths.run: 0o755,
        paths.log: 0o750,
        paths.os_log: 0o750,
        paths.lock: 0o755,
    }
    for path, mode in modes.items():
        if not os.path.isdir(path):
            # /var/lock is a link into /run, which may be empty.
            ensure_directory(os.path.realpath(path), mode)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    paths = Paths.from_environment()

    def prepare() -> None:
        make_directories(paths)
        raise_file_limit()

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-p", "--port", type=int, default=PORT, help="port to listen on (default: %(default)s)")
        parser.add_argument("-b", "--bind", metavar="ADDRESS", help="address to listen at (default: this node's primary address)")

    def serve(options: argparse.Namespace, ready: Callable[[], None]) -> None:
        async def life() -> None:
            await Agent(paths, address=options.bind or listen_address(paths), port=options.port).run(ready)

        asyncio.run(life())

    description = "Node agent: does on this node what the master says."
    status = run_daemon(NAME, serve, paths, description=description, configure=configure, prepare=prepare, argv=argv)
    _leave_stuck_threads_behind(status)
    return status


def _leave_stuck_threads_behind(status: int) -> None:
    """End the process even if a call hangs (in the kernel, on a dead file system): the interpreter would wait for its thread."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(status)
