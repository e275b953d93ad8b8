"""The `list` and `list-fields` commands of every resource. Imports little: lists are what people and scripts run most."""

from __future__ import annotations

from ganeti.base import text
from ganeti.cli.command import EXIT_SUCCESS, EXIT_UNKNOWN_FIELD, Environment
from ganeti.query.defaults import DEFAULT_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Sequence
    from typing import Any

# Cell states; the declaration with its explanations is `query.field.Status`.
_NORMAL, _UNKNOWN = 0, 1
_MARKS = {1: ("(unknown)", "??"), 2: ("(nodata)", "?"), 3: ("(unavail)", "-"), 4: ("(offline)", "*")}
_NUMERIC = frozenset({"number", "float", "unit"})

# Fields whose lists are shown with commas, as scripts expect; every other list is shown as such.
_JOINED = frozenset(
    {
        "tags",
        "snodes",
        "snodes.group",
        "snodes.group.uuid",
        "disk.sizes",
        "nic.bridges",
        "nic.ips",
        "nic.links",
        "nic.macs",
        "nic.modes",
        "nic.networks",
        "pinst_list",
        "sinst_list",
        "node_list",
        "summary",
    }
)


class ListCommand:
    """`list` of one resource: ``what`` is its name, ``plural`` the word for the names that may be given."""

    def __init__(self, what: str, metavar: str, *, names: bool = True, name_field: str = "name") -> None:
        self.what = what
        self.metavar = metavar
        self.names = names
        self.name_field = name_field

    def configure(self, parser: ArgumentParser) -> None:
        """Options of all lists."""
        add_table_options(parser)
        defaults = ",".join(DEFAULT_FIELDS[self.what])
        parser.add_argument(
            "-o",
            "--output",
            metavar="FIELDS",
            help=f"Fields, separated by commas; with a leading + besides {defaults}",
        )
        parser.add_argument(
            "-v", "--verbose", action="store_true", help="Say in words why a value is missing"
        )
        if self.names:
            parser.add_argument("names", nargs="*", metavar=self.metavar)

    def run(self, env: Environment, args: Namespace) -> int:
        """Query and print."""
        qfilter = self.filter(args)
        answer = env.call("Query", self.what, parse_fields(self.what, args.output), qfilter)
        return print_answer(env, args, answer)

    def filter(self, args: Namespace) -> Any:
        """The filter in wire form that the arguments ask for."""
        clauses = [["==", self.name_field, name] for name in getattr(args, "names", None) or ()]
        if len(clauses) > 1:
            return ["|", *clauses]
        return clauses[0] if clauses else None


class ListFieldsCommand:
    """`list-fields` of one resource."""

    def __init__(self, what: str) -> None:
        self.what = what

    def configure(self, parser: ArgumentParser) -> None:
        """Field names, and how to print the table."""
        parser.add_argument("--no-headers", action="store_true", help="Leave out the line of titles")
        parser.add_argument(
            "--separator", metavar="TEXT", help="Put this between columns instead of padding them"
        )
        parser.add_argument("names", nargs="*", metavar="FIELD")

    def run(self, env: Environment, args: Namespace) -> int:
        """Query and print."""
        answer = env.call("QueryFields", self.what, args.names or None)
        kinds = {
            "bool": "Boolean",
            "number": "Number",
            "unit": "Storage size",
            "timestamp": "Timestamp",
            "text": "Text",
        }
        rows = [
            [one["name"], kinds.get(one["kind"], one["kind"].capitalize()), one["title"], one["doc"]]
            for one in answer["fields"]
        ]
        headers = None if args.no_headers else ["Name", "Type", "Title", "Description"]
        _print_table(env, rows, headers, (), args.separator)
        return (
            EXIT_UNKNOWN_FIELD if any(one["kind"] == "unknown" for one in answer["fields"]) else EXIT_SUCCESS
        )


def add_table_options(parser: ArgumentParser) -> None:
    """How a table is printed."""
    parser.add_argument("--no-headers", action="store_true", help="Leave out the line of titles")
    parser.add_argument(
        "--separator", metavar="TEXT", help="Put this between columns instead of padding them"
    )
    parser.add_argument("--units", choices="hmgt", help="Unit of sizes: h (fitting), m, g or t")


def parse_fields(what: str, typed: str | None) -> list[str]:
    """The fields that ``-o`` asks for."""
    defaults = list(DEFAULT_FIELDS[what])
    if not typed:
        return defaults
    extra = typed.startswith("+")
    chosen = [name for name in typed.removeprefix("+").split(",") if name]
    return defaults + chosen if extra else chosen


def print_answer(env: Environment, args: Namespace, answer: dict[str, Any]) -> int:
    """Print the answer to a query; returns the exit status."""
    units = args.units or ("m" if args.separator else "h")
    columns = answer["fields"]
    show = [formatter(column, units, args.verbose) for column in columns]
    rows = [[format_one(cell) for format_one, cell in zip(show, row, strict=True)] for row in answer["data"]]
    headers = None if args.no_headers else [column["title"] for column in columns]
    numeric = [index for index, column in enumerate(columns) if column["kind"] in _NUMERIC]
    _print_table(env, rows, headers, numeric, args.separator)
    unknown = [column["name"] for column in columns if column["kind"] == "unknown"]
    if unknown:
        env.tell(f"There is no field {', '.join(unknown)}; {env.program} list-fields shows all of them")
        return EXIT_UNKNOWN_FIELD
    return EXIT_SUCCESS


def _print_table(
    env: Environment,
    rows: Sequence[Sequence[str]],
    headers: Sequence[str] | None,
    numeric: Sequence[int],
    separator: str | None,
) -> None:
    lines = text.format_table(rows, headers, numeric, separator)
    if lines:
        env.stdout.write("\n".join(lines) + "\n")


def formatter(column: dict[str, str], units: str, verbose: bool) -> Callable[[Sequence[Any]], str]:
    """How cells of a column are shown."""
    value = _value_formatter(column, units)

    def show(cell: Sequence[Any]) -> str:
        status = cell[0]
        return value(cell[1]) if status == _NORMAL else _MARKS[status][not verbose]

    return show


def _value_formatter(column: dict[str, str], units: str) -> Callable[[Any], str]:
    kind, name = column["kind"], column["name"]
    if name in _JOINED:
        return lambda value: ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if kind == "bool":
        return lambda value: "Y" if value else "N"
    if kind == "unit":
        return lambda value: text.format_size(value, units)  # type: ignore[arg-type]  # one of the four by the option's choices
    if kind == "timestamp":
        return text.format_timestamp
    if name in ("ndparams", "custom_ndparams") and column["title"].startswith(("NDParams", "CustomNDParams")):
        return lambda value: ", ".join(f"{key}={_plain(item)}" for key, item in value.items())
    return lambda value: str(_plain(value))


def _plain(value: Any) -> Any:
    """Whole floats as integers, as this command line has always shown them."""
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


INSTANCES = ListCommand("instance", "INSTANCE")
INSTANCE_FIELDS = ListFieldsCommand("instance")
NODES = ListCommand("node", "NODE")
NODE_FIELDS = ListFieldsCommand("node")
GROUPS = ListCommand("group", "GROUP")
GROUP_FIELDS = ListFieldsCommand("group")
LOCKS = ListCommand("lock", "LOCK", names=False)
