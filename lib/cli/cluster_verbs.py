"""`gnt-cluster init` and `destroy`: the commands that work while no master daemon runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ganeti.base import codec
from ganeti.base.errors import Code, DecodeError, PrereqError
from ganeti.bootstrap.destroy import destroy_cluster
from ganeti.bootstrap.init import init_cluster
from ganeti.bootstrap.settings import InitSettings
from ganeti.cli import options
from ganeti.cli.command import EXIT_FAILURE, EXIT_SUCCESS, Environment


class Init:
    """Make a cluster."""

    def configure(self, parser: ArgumentParser) -> None:
        """Options from the settings' declaration."""
        options.add_options(parser, InitSettings)
        parser.add_argument("cluster_name", metavar="CLUSTER")

    def run(self, env: Environment, args: Namespace) -> int:
        """Build the settings, then the cluster."""
        try:
            settings: InitSettings = codec.decode(InitSettings, options.given(args, InitSettings))
        except DecodeError as err:
            raise PrereqError(f"the options do not fit: {err}", Code.INVAL) from err
        cluster = init_cluster(env.paths, settings, env.tell)
        env.say(f"Cluster {cluster.cluster_name} is ready; its address is {cluster.master_ip}")
        return EXIT_SUCCESS


class Destroy:
    """Remove the cluster; other nodes and instances have to be gone."""

    def configure(self, parser: ArgumentParser) -> None:
        """The confirmation is an option, since nothing can bring the cluster back."""
        parser.add_argument("--yes-do-it", "--ya-rly", action="store_true", help="Really destroy the cluster")

    def run(self, env: Environment, args: Namespace) -> int:
        """Destroy it."""
        if not args.yes_do_it:
            env.tell("Destroying a cluster cannot be undone. If you really want it, add --yes-do-it")
            return EXIT_FAILURE
        destroy_cluster(env.paths)
        env.say("The cluster is destroyed")
        return EXIT_SUCCESS


INIT = Init()
DESTROY = Destroy()
