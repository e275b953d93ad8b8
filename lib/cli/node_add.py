"""`gnt-node add`: prepare the host over SSH, then make it a member by a job."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ganeti.base.errors import Code, NotMaster, PrereqError
from ganeti.base.files import read_optional
from ganeti.bootstrap.join import JoinOptions, Prepared, prepare_node
from ganeti.cli import options, submit
from ganeti.cli.command import EXIT_NODE_SETUP, EXIT_SUCCESS, Environment
from ganeti.ops import registry
from ganeti.ops.base import Op

OP_ID = "OP_NODE_ADD"


def _op() -> type[Op[object, object]]:
    found = registry.find(OP_ID)
    if found is None:
        raise PrereqError(f"there is no opcode {OP_ID}", Code.INVAL)
    return found


class Add:
    """Add one host."""

    def configure(self, parser: ArgumentParser) -> None:
        """Options of the opcode, and those of the way there."""
        options.add_options(parser, _op(), skip=("dry_run", "node_setup"))
        parser.add_argument(
            "--no-ssh-key-check",
            dest="ssh_key_check",
            action="store_false",
            help="Accept an SSH host key never seen before",
        )
        parser.add_argument(
            "--force-join", action="store_true", help="Take the host even if it is in another cluster"
        )
        parser.add_argument("-v", "--verbose", action="store_true", help="Tell more")
        parser.add_argument("node_name", metavar="NODE")

    def run(self, env: Environment, args: Namespace) -> int:
        """Prepare, then submit the job."""
        require_master(env)
        how = JoinOptions(
            check_host_key=args.ssh_key_check, force=args.force_join, readd=getattr(args, "readd", False)
        )
        try:
            prepared = prepare_node(env.paths, args.node_name, how, env.tell)
        except PrereqError as err:
            env.tell(f"Failure: {err.message}")
            return EXIT_NODE_SETUP if err.code == Code.ENVIRON else 1
        submit.run_job(env, args, [self.opcode(args, prepared)])
        env.say(f"Node {prepared.name} ({prepared.primary_ip}) is a member of the cluster")
        return EXIT_SUCCESS

    def opcode(self, args: Namespace, prepared: Prepared) -> dict[str, object]:
        """The opcode in wire form."""
        values = {key: value for key, value in options.given(args, _op()).items() if key != "node_setup"}
        return {
            "OP_ID": OP_ID,
            **values,
            "node_name": prepared.name,
            "primary_ip": prepared.primary_ip,
            "certificate_digest": prepared.certificate_digest,
            "ssh_host_key": prepared.ssh_host_key,
            "ssh_root_key": prepared.ssh_root_key,
        }


def require_master(env: Environment) -> None:
    """Nodes are added from the master, whose files they get; `NotMaster` anywhere else."""
    master = (read_optional(env.paths.ssconf("master_node")) or "").strip()
    if master and master != env.paths.hostname:
        raise NotMaster(f"this is not the master: run the command on {master}")


ADD = Add()
