"""`gnt-instance info`: everything about instances, live state included unless ``-s``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.base.text import format_size, format_timestamp
from ganeti.cli import submit
from ganeti.cli.command import EXIT_SUCCESS, Environment
from ganeti.cli.output import Pairs, nested, with_default

_NIC = ("name", "uuid", "ip", "mac", "mode", "link", "vlan", "network", "facts")
_DISK_STATUS = ("path", "major", "minor", "sync", "eta", "degraded", "status")
_DISK_WORDS = {1: "ok", 2: "syncing", 3: "unknown", 4: "faulty"}
_DISK_OK = 1


class Info:
    """The nodes have to be asked, so this is a job."""

    def configure(self, parser: ArgumentParser) -> None:
        """Names, or all."""
        parser.add_argument(
            "-s", "--static", action="store_true", help="Do not ask nodes: configuration only"
        )
        parser.add_argument("--all", action="store_true", help="All instances")
        parser.add_argument("names", nargs="*", metavar="INSTANCE")

    def run(self, env: Environment, args: Namespace) -> int:
        """Run the job and print its result, in the order of the names."""
        if bool(args.names) == args.all:
            raise PrereqError("name instances, or say --all (not both)", Code.INVAL)
        op = {"OP_ID": "OP_INSTANCE_QUERY_DATA", "instances": args.names, "static": args.static}
        results = submit.run_job(env, args, [op])
        found = list(results[0].values()) if results else []
        if found:
            env.say("\n".join(nested([describe(instance) for instance in found])))
        return EXIT_SUCCESS


def describe(instance: Mapping[str, Any]) -> Pairs:
    """One instance as names and values. Pure."""
    return [
        ("Instance name", instance["name"]),
        ("UUID", instance["uuid"]),
        ("Serial number", instance["serial_no"]),
        ("Creation time", format_timestamp(instance["ctime"])),
        ("Modification time", format_timestamp(instance["mtime"])),
        ("State", _state(instance)),
        ("Nodes", _nodes(instance)),
        ("Operating system", instance["os"]),
        ("Operating system parameters", with_default(instance["os_instance"], instance["os_actual"])),
        ("Allocated network port", instance["network_port"]),
        ("Hypervisor", instance["hypervisor"]),
        ("Hypervisor parameters", with_default(instance["hv_instance"], instance["hv_actual"])),
        ("Back-end parameters", with_default(instance["be_instance"], instance["be_actual"])),
        (
            "NICs",
            [_nic(index, dict(zip(_NIC, nic, strict=True))) for index, nic in enumerate(instance["nics"])],
        ),
        ("Disk template", instance["disk_template"]),
        ("Disks", [_disk(index, disk) for index, disk in enumerate(instance["disks"])]),
    ]


def _state(instance: Mapping[str, Any]) -> str:
    text = f"configured to be {instance['config_state']}"
    return f"{text}, actual state is {instance['run_state']}" if instance["run_state"] else text


def _nodes(instance: Mapping[str, Any]) -> list[Pairs]:
    group = f"{instance['pnode_group_name']} (UUID {instance['pnode_group_uuid']})"
    names = zip(
        instance["snodes"], instance["snodes_group_names"], instance["snodes_group_uuids"], strict=True
    )
    secondaries = [f"{name} (group {group_name}, group UUID {uuid})" for name, group_name, uuid in names]
    return [[("primary", instance["pnode"]), ("group", group)], [("secondaries", ", ".join(secondaries))]]


def _nic(index: int, nic: Mapping[str, Any]) -> Pairs:
    network = nic["facts"]["name"] if nic["facts"] else None
    return [
        (f"nic/{index}", ""),
        ("MAC", nic["mac"]),
        ("IP", nic["ip"]),
        ("mode", nic["mode"]),
        ("link", nic["link"]),
        ("vlan", nic["vlan"]),
        ("network", network),
        ("UUID", nic["uuid"]),
        ("name", nic["name"]),
    ]


def _disk(index: int, disk: Mapping[str, Any]) -> Pairs:
    head = f"{disk['dev_type']}, size {format_size(disk['size'])}"
    lines: list[tuple[str, Any]] = [
        (f"disk/{index}", head),
        ("access mode", disk["mode"]),
        ("logical_id", str(disk["logical_id"])),
    ]
    for where, key in (("primary", "pstatus"), ("secondary", "sstatus")):
        if disk[key] is not None:
            lines.append((f"on {where}", _device(disk[key])))
    return [*lines, ("name", disk["name"]), ("UUID", disk["uuid"])]


def _device(values: Sequence[Any]) -> str:
    """Where a device is, and what is wrong with it."""
    status = dict(zip(_DISK_STATUS, values, strict=True))
    major, minor = (("N/A" if status[key] is None else status[key]) for key in ("major", "minor"))
    text = f"{status['path']} ({major}:{minor})"
    if status["sync"] is not None:
        eta = "unknown" if status["eta"] is None else f"{status['eta']}s"
        text += f" *RECOVERING* {status['sync']:5.2f}%, ETA {eta}"
    if status["degraded"]:
        text += " *DEGRADED*"
    return (
        text
        if status["status"] == _DISK_OK
        else f"{text} *{_DISK_WORDS.get(status['status'], 'unknown').upper()}*"
    )


INFO = Info()
