"""`gnt-cluster info`: every setting of the cluster."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from ganeti.base.paths import Paths
from ganeti.cli.command import EXIT_SUCCESS, Environment
from ganeti.cli.output import Pairs, nested

MICROSECONDS = 1_000_000


class Info:
    """Ask the master daemon and print."""

    def configure(self, parser: ArgumentParser) -> None:
        """Numbers may be shown the Roman way, as ever."""
        parser.add_argument(
            "--roman", dest="roman_integers", action="store_true", help="Show numbers in Roman digits"
        )

    def run(self, env: Environment, args: Namespace) -> int:
        """Print."""
        show = roman if args.roman_integers else int
        env.say("\n".join(nested(describe(env.call("QueryClusterInfo"), env.paths, show))))
        return EXIT_SUCCESS


def roman(number: int) -> str:
    """A whole number in Roman digits, where there are any for it."""
    if not 0 < number < 4000:
        return str(number)
    digits = zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    )
    result = ""
    for value, digit in digits:
        count, number = divmod(number, value)
        result += digit * count
    return result


def describe(info: Mapping[str, Any], paths: Paths, number: Any = int) -> Pairs:
    """The settings as names and values, in their order. Pure."""
    enabled = info["enabled_hypervisors"]
    return [
        ("Cluster name", info["name"]),
        ("Cluster UUID", info["uuid"]),
        ("Creation time", stamp(info["ctime"])),
        ("Modification time", stamp(info["mtime"])),
        ("Master node", info["master"]),
        ("Architecture (this node)", f"{info['architecture'][0]} ({info['architecture'][1]})"),
        ("Tags", ", ".join(sorted(info["tags"])) or "(none)"),
        ("Default hypervisor", info["default_hypervisor"]),
        ("Enabled hypervisors", ", ".join(enabled)),
        ("Hypervisor parameters", {kind: info["hvparams"].get(kind, {}) for kind in enabled}),
        ("OS-specific hypervisor parameters", info["os_hvp"]),
        ("OS parameters", info["osparams"]),
        ("Hidden OSes", ", ".join(sorted(info["hidden_os"]))),
        ("Blacklisted OSes", ", ".join(sorted(info["blacklisted_os"]))),
        ("Cluster parameters", _parameters(info, paths, number)),
        ("Default node parameters", info["ndparams"]),
        ("Default instance parameters", info["beparams"]),
        ("Default nic parameters", info["nicparams"]),
        ("Default disk parameters", info["diskparams"]),
        ("Instance policy - limits for instances", describe_policy(info["ipolicy"])),
        ("Data collectors", _collectors(info)),
    ]


def stamp(seconds: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _parameters(info: Mapping[str, Any], paths: Paths, number: Any) -> Pairs:
    return [
        ("candidate pool size", number(info["candidate_pool_size"])),
        ("maximal number of jobs running simultaneously", number(info["max_running_jobs"])),
        ("maximal number of jobs simultaneously tracked by the scheduler", number(info["max_tracked_jobs"])),
        ("mac prefix", info["mac_prefix"]),
        ("master netdev", info["master_netdev"]),
        ("master netmask", number(info["master_netmask"])),
        ("use external master IP address setup script", info["use_external_mip_script"]),
        ("lvm volume group", info["volume_group_name"]),
        ("lvm reserved volumes", ", ".join(info["reserved_lvs"]) or "(none)"),
        ("drbd usermode helper", info["drbd_usermode_helper"]),
        ("file storage path", info["file_storage_dir"]),
        ("shared file storage path", info["shared_file_storage_dir"]),
        ("gluster storage path", info["gluster_storage_dir"]),
        ("maintenance of node health", info["maintain_node_health"]),
        ("uid pool", ", ".join(_ranges(info["uid_pool"]))),
        ("default instance allocator", info["default_iallocator"] or ""),
        ("default instance allocator parameters", info["default_iallocator_params"]),
        ("primary ip version", number(info["primary_ip_version"])),
        ("preallocation wipe disks", info["prealloc_wipe_disks"]),
        ("OS search path", ", ".join(paths.os_search_path)),
        ("ExtStorage Providers search path", ", ".join(paths.extstorage_search_path)),
        ("enabled disk templates", ", ".join(info["enabled_disk_templates"])),
        ("install image", info["install_image"]),
        ("instance communication network", info["instance_communication_network"]),
        ("zeroing image", info["zeroing_image"]),
        ("compression tools", list(info["compression_tools"])),
        ("enabled user shutdown", info["enabled_user_shutdown"]),
        ("modify ssh setup", info["modify_ssh_setup"]),
        ("ssh_key_type", info["ssh_key_type"]),
        ("ssh_key_bits", info["ssh_key_bits"]),
    ]


def _ranges(pool: Iterable[Iterable[int]]) -> list[str]:
    return [str(low) if low == high else f"{low}-{high}" for low, high in pool]


def describe_policy(policy: Mapping[str, Any]) -> Pairs:
    """An instance policy: bounds, standard, templates and ratios."""
    bounds = [
        [(f"max/{index}", bound["max"]), (f"min/{index}", bound["min"])]
        for index, bound in enumerate(policy["minmax"])
    ]
    return [
        ("bounds specs", bounds),
        ("std", policy["std"]),
        ("allowed disk templates", ", ".join(policy["disk-templates"])),
        ("vcpu-ratio", policy["vcpu-ratio"]),
        ("spindle-ratio", policy["spindle-ratio"]),
    ]


def _collectors(info: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    intervals = info["data_collector_interval"]
    return {
        name: {"active": str(active), "interval": f"{intervals[name] / MICROSECONDS:.3f}s"}
        for name, active in info["enabled_data_collectors"].items()
    }


INFO = Info()
