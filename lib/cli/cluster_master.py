"""`gnt-cluster getmaster` and `version`: small answers, fast."""

from __future__ import annotations

from ganeti.cli.command import EXIT_SUCCESS, Environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


class GetMaster:
    """Works on every node of the cluster, also while no master daemon runs."""

    def configure(self, parser: ArgumentParser) -> None:
        """No options."""

    def run(self, env: Environment, args: Namespace) -> int:
        """Read what the master told this node."""
        from ganeti.base.errors import NoCluster
        from ganeti.base.files import read_optional

        name = read_optional(env.paths.ssconf("master_node"))
        if not name:
            raise NoCluster(
                "this host is in no cluster; 'gnt-cluster init' makes one, 'gnt-node add' on a master adds this host"
            )
        env.say(name.strip())
        return EXIT_SUCCESS


class Version:
    """Versions of the software that runs the cluster."""

    def configure(self, parser: ArgumentParser) -> None:
        """No options."""

    def run(self, env: Environment, args: Namespace) -> int:
        """Ask the master daemon."""
        info = env.call("QueryClusterInfo")
        env.say(f"Software version: {info['software_version']}")
        env.say(f"Internode protocol: {info['protocol_version']}")
        env.say(f"Configuration format: {info['config_version']}")
        env.say(f"OS api version: {info['os_api_version']}")
        env.say(f"Export interface: {info['export_version']}")
        env.say(f"VCS version: {info['vcs_version']}")
        return EXIT_SUCCESS


GETMASTER = GetMaster()
VERSION = Version()
