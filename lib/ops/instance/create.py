"""Create an instance.

Order of effects, so that the configuration always describes where data are, even if the worker dies half way:

1. The instance and its disks are stored as *forthcoming*: name, addresses, memory and the places of the files are taken.
2. Directories and files are made, the OS is installed.
3. One commit makes them real (and says "up" if the instance is to be started); then the guest is started.

If a step fails, or the job is cancelled, everything is undone in reverse, the configuration last; what cannot be removed
because its node does not answer stays described by a forthcoming instance, which `gnt-instance remove` takes away later.
The same holds for what a killed worker leaves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from ganeti.base import net
from ganeti.base.errors import Code, PrereqError, ResolverError
from ganeti.base.secret import Secret
from ganeti.model import names
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, DiskTemplate, HypervisorKind
from ganeti.model.ids import InstanceUuid, new_uuid
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Disk, Instance, Node, Put
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import creation, disks, guest, new_disks, new_nics, new_params
from ganeti.ops.instance.steps.creation import Plan, Wanted
from ganeti.ops.instance.steps.lookup import find_node, kept_locks
from ganeti.ops.steps.hooks import instance_environment
from ganeti.ops.steps.refuse import refuse_given

NODE_PORT = 1811
WITH_PORT = (HypervisorKind.KVM, HypervisorKind.XEN_HVM)
"""Hypervisors whose instances get a TCP port for their graphical console."""

_IMPORT_ONLY = "it belongs to imports (gnt-backup import), which are not supported yet"
_UNSUPPORTED = {
    "forthcoming": "reserving the place of an instance is not supported yet",
    "commit": "reserving the place of an instance is not supported yet",
    "iallocator": "external allocators are not supported yet; name a node with -n, or leave both out to have one chosen",
    "snode": "the supported disk templates have no secondary node",
    "snode_uuid": "the supported disk templates have no secondary node",
    "instance_communication": "instance communication is not supported yet",
    "helper_startup_timeout": "it belongs to installing inside a helper VM, which is not supported yet",
    "helper_shutdown_timeout": "it belongs to installing inside a helper VM, which is not supported yet",
    "identify_defaults": _IMPORT_ONLY,
    "compress": _IMPORT_ONLY,
    "source_handshake": _IMPORT_ONLY,
    "source_instance_name": _IMPORT_ONLY,
    "source_shutdown_timeout": _IMPORT_ONLY,
    "source_x509_ca": _IMPORT_ONLY,
    "src_node": _IMPORT_ONLY,
    "src_node_uuid": _IMPORT_ONLY,
    "src_path": _IMPORT_ONLY,
}


class InstanceCreate(
    Op[Plan, list[str]],
    command="gnt-instance add",
    route="POST /2/instances",
    summary="instance_name",
    hooks=Hooks("instance-add", "INSTANCE"),
):
    """Create an instance, install its operating system and start it. The result lists the names of its nodes."""

    instance_name: str = param(help="Name of the new instance", metavar="NAME")
    mode: Literal["create", "import", "remote-import"] = param(help="Where its disks come from")
    disks: list[dict[str, str | int]] = param(
        help="Disk, as number:size=SIZE,mode=rw|ro,name=NAME (may be repeated)",
        flags="--disk",
        metavar="N:size=SIZE,...",
        cli_type="identkeyval",
    )
    nics: list[dict[str, str | None]] = param(
        help="NIC, as number:mac=auto,ip=ADDRESS,mode=MODE,link=LINK,vlan=VLAN,name=NAME (may be repeated)",
        flags="--net",
        metavar="N:link=LINK,...",
        cli_type="identkeyval",
    )
    disk_template: DiskTemplate | None = param(
        default=None, help="How its disks are kept (default: the cluster's first)", flags="-t --disk-template", metavar="TEMPL"
    )
    os_type: str | None = param(
        default=None,
        help="Operating system to install, as name or name+variant",
        flags="-o --os-type",
        metavar="OS",
        complete="os",
        check=not_empty,
    )
    pnode: str | None = param(default=None, help="Primary node", complete="node", check=not_empty)
    pnode_uuid: str | None = param(default=None, help="Primary node, by uuid", check=not_empty)
    snode: str | None = param(default=None, help="Secondary node", complete="node", check=not_empty)
    snode_uuid: str | None = param(default=None, help="Secondary node, by uuid", check=not_empty)
    group_name: str | None = param(
        default=None,
        help="Choose the node in this node group only",
        flags="-g --node-group",
        metavar="GROUP",
        complete="group",
        check=not_empty,
    )
    iallocator: str | None = param(
        default=None,
        help="Allocator that chooses the nodes",
        flags="-I --iallocator",
        metavar="NAME",
        complete="iallocator",
        check=not_empty,
    )
    opportunistic_locking: bool = param(
        default=False, help="Choose among nodes that are not busy only", flags="--opportunistic-locking"
    )
    hypervisor: HypervisorKind | None = param(default=None, help="Hypervisor (default: the cluster's first)")
    hvparams: dict[str, Any] = param(
        default_factory=dict,
        help="Hypervisor and its parameters, as hypervisor:name=value,...",
        flags="-H --hypervisor-parameters",
        metavar="HYPERVISOR:NAME=VALUE,...",
        cli_type="identkeyval",
    )
    beparams: dict[str, Any] = param(
        default_factory=dict,
        help="Back-end parameters, such as memory=512m,vcpus=2",
        flags="-B --backend-parameters",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
    )
    osparams: dict[str, Any] = param(
        default_factory=dict,
        help="OS parameters",
        flags="-O --os-parameters",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
    )
    osparams_private: dict[str, Secret] | None = param(
        default=None,
        help="OS parameters that are stored but not shown",
        flags="--os-parameters-private",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
        secret=True,
    )
    osparams_secret: dict[str, Secret] | None = param(
        default=None,
        help="OS parameters that are not stored",
        flags="--os-parameters-secret",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
        secret=True,
    )
    force_variant: bool = param(
        default=False, help="Install a variant that the OS does not list", flags="--force-variant"
    )
    no_install: bool | None = param(default=None, help="Do not install the OS, and do not start", flags="--no-install")
    start: bool = param(default=True, help="Do not start the instance", flags="--no-start")
    wait_for_sync: bool = param(default=True, help="Do not wait until disks are in sync", flags="--no-wait-for-sync")
    name_check: bool = param(default=False, help="Resolve the name first", flags="--name-check")
    ip_check: bool = param(
        default=False, help="Refuse if the name's address answers already (implies resolving it)", flags="--ip-check"
    )
    conflicts_check: bool = param(
        default=True, help="Do not check whether addresses are in use", flags="--no-conflicts-check"
    )
    ignore_ipolicy: bool = param(default=False, help="Ignore the instance policy", flags="--ignore-ipolicy")
    file_driver: Literal["blktap", "blktap2", "loop"] | None = param(
        default=None, help="Driver for file-based disks", flags="--file-driver", metavar="DRIVER"
    )
    file_storage_dir: str | None = param(
        default=None,
        help="Directory below the cluster's one for file-based disks",
        flags="--file-storage-dir",
        metavar="DIR",
        check=not_empty,
    )
    tags: list[str] = param(
        default_factory=list, help="Tags, separated by commas", flags="--tags", metavar="TAG,...", cli_type="list"
    )
    forthcoming: bool = param(default=False, help="Only reserve the instance's place", flags="--forthcoming")
    commit: bool = param(default=False, help="Make a forthcoming instance real", flags="--commit")
    instance_communication: bool = param(
        default=False, help="Add a NIC for talking to the host", flags="-c --communication", cli_type="yesno"
    )
    helper_startup_timeout: int | None = param(
        default=None, help="Seconds until a helper VM must have started", flags="--helper-startup-timeout"
    )
    helper_shutdown_timeout: int | None = param(
        default=None, help="Seconds until a helper VM must have stopped", flags="--helper-shutdown-timeout"
    )
    identify_defaults: bool = param(default=False, help="Leave out what equals the defaults (imports)")
    compress: str = param(default="none", help="Compression of a transfer (imports)")
    source_handshake: list[Any] | None = param(default=None, help="Greeting of the other cluster (imports)")
    source_instance_name: str | None = param(default=None, help="Name on the other cluster (imports)", check=not_empty)
    source_shutdown_timeout: int = param(
        default=120, help="Seconds for stopping it on the other cluster (imports)", check=not_negative
    )
    source_x509_ca: str | None = param(default=None, help="Certificate of the other cluster (imports)", check=not_empty)
    src_node: str | None = param(default=None, help="Node that has the export (imports)", check=not_empty)
    src_node_uuid: str | None = param(default=None, help="The same, by uuid (imports)", check=not_empty)
    src_path: str | None = param(default=None, help="Where the export lies (imports)", check=not_empty)

    # --- locks
    def locks(self, config: Config) -> Locks:
        """The name, and the primary node with its resources; all nodes of the group (or cluster) if one is to be chosen."""
        own = lock("instance", names.normalize_host_name(self.instance_name))
        candidates = self._candidates(config)
        groups = {node.group for node in candidates}
        shared = [lock("node", node.uuid) for node in candidates] + [lock("nodegroup", group) for group in groups]
        resources = [lock("node-res", node.uuid) for node in candidates]
        if self.opportunistic_locking and len(candidates) > 1:
            wanted = Locks.of(exclusive=[own], shared=shared)
            return replace(wanted, opportunistic=frozenset(resources), opportunistic_minimum=1)
        return Locks.of(exclusive=[own, *resources], shared=shared)

    def _candidates(self, config: Config) -> list[Node]:
        """The nodes among which the primary one is."""
        group = config.find_group(self.group_name) if self.group_name else None
        named = find_node(config, self.pnode, self.pnode_uuid)
        if named is None:
            return [node for node in config.nodes if group is None or node.group == group.uuid]
        if group is not None and named.group != group.uuid:
            raise PrereqError(f"node {named.name} is not in node group {group.name}", Code.INVAL)
        return [named]

    # --- plan
    def plan(self, ctx: Context) -> Plan:
        wanted = self._check(ctx)
        node = self._choose_node(ctx, wanted)
        ctx.reserve("instance-name", wanted.name)
        plan = self._build(ctx, wanted, node)
        creation.check_on_node(ctx, plan, force_variant=self.force_variant)
        return plan

    def _check(self, ctx: Context) -> Wanted:
        """Everything that needs no node to be asked."""
        cluster = ctx.config.cluster
        self._refuse()
        name, ip = self._resolve_name(ctx)
        template = self.disk_template or cluster.enabled_disk_templates[0]
        new_disks.check_template(cluster, template)
        hypervisor = self._check_hypervisor(ctx)
        beparams = new_params.backend_overrides(self.beparams)
        backend = new_params.fill_backend(cluster, beparams)
        nics = new_nics.check_nics(cluster, self.nics, ip)
        new_nics.check_duplicates(ctx.config, nics)
        if self.conflicts_check:
            new_nics.check_conflicts(ctx.config, nics)
        start = self.start and not self.no_install
        if self.start and self.no_install:
            ctx.info("The OS is not installed, so the instance is not started")
        return Wanted(
            name=name,
            template=template,
            hypervisor=hypervisor,
            hvparams=new_params.hypervisor_overrides(hypervisor, self.hvparams),
            beparams=beparams,
            memory=int(backend["maxmem"]),
            vcpus=int(backend["vcpus"]),
            spindle_use=int(backend["spindle_use"]),
            start=start,
            disks=new_disks.check_disks(template, self.disks),
            nics=nics,
            ignore_ipolicy=self.ignore_ipolicy,
            driver=new_disks.check_file_options(template, self.file_driver, self.file_storage_dir),
        )

    def _refuse(self) -> None:
        if self.mode != "create":
            raise PrereqError(f"mode {self.mode} is not supported yet; use mode create", Code.INVAL)
        refuse_given(self, _UNSUPPORTED)
        if self.os_type is None:
            raise PrereqError("no operating system is given; name one with -o (gnt-os list shows them)", Code.INVAL)
        names.check_tags(tuple(self.tags), f"instance {self.instance_name}")
        public, private, secret = (set(group or {}) for group in (self.osparams, self.osparams_private, self.osparams_secret))
        twice = sorted((public & private) | (public & secret) | (private & secret))
        if twice:
            raise PrereqError(
                f"OS parameter {', '.join(twice)} is given more than once, as public, private or secret", Code.INVAL
            )

    def _resolve_name(self, ctx: Context) -> tuple[str, str | None]:
        """The full name and, if names are checked, its address."""
        name = names.normalize_host_name(self.instance_name)
        if not self.name_check and not self.ip_check:
            address = None
        else:
            host = net.resolve(name, ctx.config.cluster.primary_ip_family)
            resolved = names.normalize_host_name(host.name)
            if resolved != name and not resolved.startswith(name + "."):
                raise ResolverError(f"'{name}' resolves to another name, {resolved}; use that one, or leave --name-check out")
            name, address = resolved, host.ip
        if ctx.config.rows.by_name(Instance.KIND, name) is not None:
            raise PrereqError(f"instance {name} exists already", Code.EXISTS)
        if self.ip_check and address and net.is_reachable(address, NODE_PORT, 2.0):
            raise PrereqError(f"the address of {name}, {address}, is in use by a host that answers", Code.NOTUNIQUE)
        return name, address

    def _check_hypervisor(self, ctx: Context) -> HypervisorKind:
        enabled = ctx.config.cluster.enabled_hypervisors
        chosen = self.hypervisor or enabled[0]
        if chosen not in enabled:
            raise PrereqError(
                f"hypervisor {chosen} is not enabled on this cluster (enabled: {', '.join(map(str, enabled))})", Code.INVAL
            )
        return chosen

    def _choose_node(self, ctx: Context, wanted: Wanted) -> Node:
        """The primary node: the one named, or the one with most memory left of those that fit."""
        candidates = self._candidates(ctx.config)
        if self.pnode or self.pnode_uuid:
            creation.check_named_node(ctx, wanted, candidates[0])
            return candidates[0]
        chosen = creation.choose_node(ctx, wanted, candidates)
        ctx.locks.keep([lock("nodegroup", chosen.group), *kept_locks(wanted.name, [chosen.uuid])])
        ctx.info(f"Chose node {chosen.name} for instance {wanted.name}")
        return chosen

    def _build(self, ctx: Context, wanted: Wanted, node: Node) -> Plan:
        """The objects, forthcoming. Addresses and the port are reserved for this job."""
        made: tuple[Disk, ...] = ()
        if wanted.template is not DiskTemplate.DISKLESS:
            directory = new_disks.instance_directory(
                ctx.config.cluster, wanted.template, self.file_storage_dir, wanted.name
            )
            made = new_disks.build_disks(wanted.template, wanted.disks, directory, wanted.driver, node.uuid)
        private = {name: value.reveal() for name, value in (self.osparams_private or {}).items()}
        instance = Instance(
            uuid=InstanceUuid(new_uuid()),
            name=wanted.name,
            primary_node=node.uuid,
            os=self.os_type or "",
            hypervisor=wanted.hypervisor,
            hvparams=wanted.hvparams,
            beparams=wanted.beparams,
            osparams=new_params.os_overrides(self.osparams),
            osparams_private=new_params.os_overrides(private),
            admin_state=AdminState.DOWN,
            disk_template=wanted.template,
            disks=tuple(disk.uuid for disk in made),
            nics=new_nics.build_nics(ctx, wanted.nics),
            network_port=int(ctx.generate("port")) if wanted.hypervisor in WITH_PORT else None,
            forthcoming=True,
            tags=tuple(sorted(set(self.tags))),
        )
        return Plan(instance, made, (node.name,), wanted.start, not self.no_install, self.osparams_secret or {})

    def dry_run_result(self, plan: Plan) -> list[str]:
        """The names of the nodes that would be used."""
        return list(plan.nodes)

    # --- run
    def run(self, ctx: Context, plan: Plan) -> list[str]:
        ctx.undo.push(creation.withdraw, ctx, plan.instance)
        ctx.info(f"Creating instance {plan.instance.name} on node {plan.nodes[0]}")
        ctx.commit([*(Put(disk) for disk in plan.disks), Put(plan.instance)])
        disks.create(ctx, plan.instance, plan.disks)
        ctx.locks.keep([lock("instance", plan.instance.name)])
        creation.fill_disks(ctx, plan)
        ctx.sleep(0)  # the last occasion to cancel: it may have taken long
        instance = creation.make_real(ctx, plan.instance, start=plan.start)
        if plan.start:
            ctx.info(f"Starting instance {instance.name}")
            guest.start(ctx, instance)
        return list(plan.nodes)

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the instance's node, before and after."""
        stored = config.rows.get(Instance.KIND, plan.instance.uuid)
        instance = stored if isinstance(stored, Instance) else plan.instance
        nodes = tuple(config.nodes_of(instance))
        environment = instance_environment(config, instance, plan.disks, ADD_MODE=self.mode)
        return HookRun(instance.name, environment, nodes, nodes)
