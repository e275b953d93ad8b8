"""The status of an instance: what is wanted of it, against what its hypervisor says. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ganeti.base.errors import NodeError, NodeOffline
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, AdminStateSource, Word
from ganeti.model.objects import Instance
from ganeti.query.field import Data
from ganeti.rpc.node.replies import InstanceState, RunState


class InstanceStatus(Word):
    """Values of the field ``status``."""

    RUNNING = "running"
    ADMIN_DOWN = "ADMIN_down"
    ADMIN_OFFLINE = "ADMIN_offline"
    USER_DOWN = "USER_down"
    ERROR_DOWN = "ERROR_down"
    ERROR_UP = "ERROR_up"
    ERROR_NODE_DOWN = "ERROR_nodedown"
    ERROR_NODE_OFFLINE = "ERROR_nodeoffline"
    ERROR_WRONG_NODE = "ERROR_wrongnode"


_ALIVE = (RunState.RUNNING, RunState.PAUSED)


def where_running(data: Data) -> Mapping[str, Mapping[str, InstanceState]]:
    """Instance name -> node uuid -> its state there, for every guest that any node reported."""
    found: dict[str, dict[str, InstanceState]] | None = data.memo.get("where_running")
    if found is None:
        found = {}
        for node, states in data.live.states.items():
            if not isinstance(states, NodeError):
                for state in states:
                    found.setdefault(state.name, {})[node] = state
        data.memo["where_running"] = found
    return found


def primary_failure(data: Data, instance: Instance) -> NodeError | None:
    """Why the primary node could not be asked (None: it answered)."""
    node = data.config.node(instance.primary_node)
    if node.offline:
        return NodeOffline(node.name)
    states = data.live.states.get(node.uuid)
    if states is None:
        return NodeError(node.name, "was not asked")
    return states if isinstance(states, NodeError) else None


def state_on_primary(data: Data, instance: Instance) -> InstanceState | None:
    """What the primary node says of the instance, if it knows it."""
    return where_running(data).get(instance.name, {}).get(instance.primary_node)


def instance_status(data: Data, instance: Instance) -> InstanceStatus:
    """The status shown in lists."""
    failure = primary_failure(data, instance)
    if isinstance(failure, NodeOffline):
        return InstanceStatus.ERROR_NODE_OFFLINE
    if failure is not None:
        return InstanceStatus.ERROR_NODE_DOWN
    places = where_running(data).get(instance.name, {})
    here = places.get(instance.primary_node)
    alive = {node for node, state in places.items() if state.state in _ALIVE}
    if alive and instance.primary_node not in alive:
        return InstanceStatus.ERROR_WRONG_NODE
    return decide_status(data.config, instance, here.state if here else RunState.ABSENT)


def decide_status(config: Config, instance: Instance, state: RunState) -> InstanceStatus:
    """The status of an instance whose primary node answered that it is in `state`."""
    wanted_up = instance.admin_state is AdminState.UP
    if state in _ALIVE:
        return InstanceStatus.RUNNING if wanted_up else InstanceStatus.ERROR_UP
    if state is RunState.SHUTDOWN and wanted_up and _user_shutdown(config, instance):
        return InstanceStatus.USER_DOWN
    if wanted_up:
        return InstanceStatus.ERROR_DOWN
    if instance.admin_state is AdminState.OFFLINE:
        return InstanceStatus.ADMIN_OFFLINE
    by_user = instance.admin_state_source is AdminStateSource.USER
    return InstanceStatus.USER_DOWN if by_user else InstanceStatus.ADMIN_DOWN


def _user_shutdown(config: Config, instance: Instance) -> bool:
    cluster = config.cluster
    return cluster.enabled_user_shutdown and bool(
        {**cluster.hvparams.get(instance.hypervisor, {}), **instance.hvparams}.get("user_shutdown", True)
    )
