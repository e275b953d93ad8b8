"""What an opcode is.

A subclass of `Op` in a file of its own declares typed parameters and three methods: `locks` (pure), `plan` (reads and asks,
changes nothing), `run` (does what the plan says). Command line, RAPI body, validation, wire form and manual are derived from
the fields. The class becomes a frozen dataclass by being defined.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from ganeti.base import codec
from ganeti.base.errors import Code, DecodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.job import PRIORITY_NORMAL
from ganeti.model.locks import Locks

if typing.TYPE_CHECKING:
    from ganeti.ops.context import Context

PlanT = TypeVar("PlanT")
ResultT = TypeVar("ResultT")

_PARAM = "ganeti.param"


@dataclasses.dataclass(frozen=True)
class ParamInfo:
    """What the surfaces need to know of a parameter, besides its type and default."""

    help: str = ""
    flags: tuple[str, ...] = ()
    """Option strings on the command line; empty: a positional argument or set by the command itself."""
    metavar: str = ""
    complete: str = ""
    """What shell completion offers: node, instance, group, network, os, job, iallocator, file."""
    cli_type: str = ""
    """How the command line reads the value where its type does not tell.

    unit: a size; keyval: ``k=v,...``; identkeyval: ``ident:k=v,...``, repeatable, giving a dict of dicts; list: comma separated;
    yesno: a truth value to be spelled out; multi: ``ident:k=v,../ident:k=v//...``; priority: low, normal, high.
    """
    secret: bool = False
    check: Callable[[Any], Any] | None = None
    """Called with the decoded value; raises `ValueError` if it is not acceptable."""


def param(
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    help: str = "",
    flags: str = "",
    metavar: str = "",
    complete: str = "",
    cli_type: str = "",
    secret: bool = False,
    check: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare a parameter of an opcode. `flags` holds its option strings, separated by spaces."""
    info = ParamInfo(help, tuple(flags.split()), metavar, complete, cli_type, secret, check)
    metadata = {_PARAM: info}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Hooks of an operation. Variables are given without their ``GANETI_`` prefix, nodes by uuid."""

    path: str
    object_type: str


@dataclasses.dataclass(frozen=True)
class HookRun:
    """What one operation's hooks are told, and where they run besides the master."""

    target: str
    environment: Mapping[str, str]
    pre_nodes: tuple[str, ...] = ()
    post_nodes: tuple[str, ...] = ()


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(param, dataclasses.field))
class Op(Generic[PlanT, ResultT]):
    """An operation on the cluster. See the module's text."""

    OP_ID: ClassVar[str] = ""
    COMMAND: ClassVar[str | None] = None
    """``gnt-xxx verb`` that submits it, where there is one."""
    ROUTE: ClassVar[str | None] = None
    """``METHOD /2/path`` of the REST API."""
    SUMMARY_FIELD: ClassVar[str | None] = None
    """The field shown in a job's summary."""
    HOOKS: ClassVar[Hooks | None] = None
    CHANGES_NOTHING: ClassVar[bool] = False
    """Neither the configuration nor a node is changed (a crash needs no care)."""

    dry_run: bool | None = param(default=None, help="Check and show what would be done, but do not do it", flags="--dry-run")
    debug_level: int | None = param(default=None)
    priority: int = param(default=PRIORITY_NORMAL, help="Priority of the job", flags="--priority", cli_type="priority")
    depends: list[tuple[int, list[str]]] | None = param(default=None)
    comment: str | None = param(default=None)
    reason: list[Any] | None = param(default_factory=list)

    def __init_subclass__(
        cls,
        *,
        command: str | None = None,
        route: str | None = None,
        summary: str | None = None,
        hooks: Hooks | None = None,
        changes_nothing: bool = False,
        op_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.OP_ID = op_id or "OP_" + _words(cls.__name__)
        cls.COMMAND, cls.ROUTE, cls.SUMMARY_FIELD = command, route, summary
        cls.HOOKS, cls.CHANGES_NOTHING = hooks, changes_nothing
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def locks(self, config: Config) -> Locks:
        """The locks needed, from the configuration alone. Evaluated again once they are held."""
        raise NotImplementedError(f"{type(self).__name__}.locks")

    def plan(self, ctx: Context) -> PlanT:
        """Everything that can be found out and refused beforehand. Changes nothing; raises `PrereqError`."""
        raise NotImplementedError(f"{type(self).__name__}.plan")

    def run(self, ctx: Context, plan: PlanT) -> ResultT:
        """Do what the plan says."""
        raise NotImplementedError(f"{type(self).__name__}.run")

    def hook_run(self, config: Config, plan: PlanT) -> HookRun | None:
        """What the hooks are told (None: no hooks). Called before `run` and, with the new configuration, after it."""
        return None

    def dry_run_result(self, plan: PlanT) -> Any:
        """The job's result with ``--dry-run``."""
        return None


dataclasses.dataclass(frozen=True, kw_only=True)(Op)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def params_of(cls: type[Any]) -> Mapping[str, tuple[Any, dataclasses.Field[Any], ParamInfo]]:
    """Name -> (type, dataclass field, information) of every parameter, those common to all opcodes last.

    Works for any dataclass whose fields are declared with `param`. Found out once per class: it takes longer than to run a job.
    """
    key: Any = cls  # the type checker takes a class for something that cannot be hashed
    found: Mapping[str, tuple[Any, dataclasses.Field[Any], ParamInfo]] = _params_of(key)
    return found


@functools.cache
def _params_of(cls: Any) -> Any:
    hints = typing.get_type_hints(cls)
    common = {field.name for field in _fields(Op)}
    fields = sorted(_fields(cls), key=lambda field: field.name in common)
    return {field.name: (hints[field.name], field, field.metadata.get(_PARAM, ParamInfo())) for field in fields}


def to_wire(op: Op[Any, Any]) -> dict[str, Any]:
    """The wire form, with ``OP_ID``. Secrets are revealed."""
    return {"OP_ID": op.OP_ID, **codec.encode(op)}


def from_wire(value: Mapping[str, Any], find: Callable[[str], type[Op[Any, Any]] | None]) -> Op[Any, Any]:
    """The opcode of a wire form. `find` maps an ``OP_ID`` to its class. Raises `PrereqError` naming what is wrong."""
    if not isinstance(value, Mapping) or not isinstance(value.get("OP_ID"), str):
        raise PrereqError("an opcode must be an object with an OP_ID", Code.INVAL)
    cls = find(value["OP_ID"])
    if cls is None:
        raise PrereqError(f"there is no opcode {value['OP_ID']}", Code.INVAL)
    try:
        op: Op[Any, Any] = codec.decode(cls, {key: item for key, item in value.items() if key != "OP_ID"})
        for name, (_, _, info) in params_of(cls).items():
            if info.check is not None:
                _check(info.check, getattr(op, name), name)
    except DecodeError as err:
        raise PrereqError(f"{cls.OP_ID}: parameter {err}", Code.INVAL) from err
    return op


def _check(check: Callable[[Any], Any], value: Any, name: str) -> None:
    try:
        check(value)
    except ValueError as err:
        raise DecodeError(name, str(err)) from err


def summary(value: Mapping[str, Any], find: Callable[[str], type[Op[Any, Any]] | None]) -> str:
    """Short text for lists: ``INSTANCE_REBOOT(web1)``."""
    op_id = str(value.get("OP_ID", "OP_?"))
    cls = find(op_id)
    text = op_id.removeprefix("OP_")
    if cls is None or cls.SUMMARY_FIELD is None:
        return text
    shown = value.get(cls.SUMMARY_FIELD)
    return f"{text}({','.join(map(str, shown)) if isinstance(shown, list) else shown})"


def redacted(value: Mapping[str, Any], find: Callable[[str], type[Op[Any, Any]] | None]) -> dict[str, Any]:
    """The wire form with every secret parameter blanked out, for the store, logs and queries."""
    cls = find(str(value.get("OP_ID")))
    secret = {name for name, (_, _, info) in params_of(cls).items() if info.secret} if cls else set()
    return {key: _blank(item) if key in secret else item for key, item in value.items()}


def _blank(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _blank(item) for key, item in value.items()}
    return None if value is None else "<redacted>"
