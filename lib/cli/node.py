"""`gnt-node`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

_VERBS = "ganeti.cli.node_verbs"

VERBS = {
    "add": Verb("Add a host to the cluster", "ganeti.cli.node_add:ADD"),
    "info": Verb("Show everything about nodes", "ganeti.cli.node_info:INFO"),
    "list": Verb("List nodes", "ganeti.cli.listing:NODES"),
    "list-fields": Verb("List the fields that lists can show", "ganeti.cli.listing:NODE_FIELDS"),
    "modify": Verb("Change a node's role or parameters", f"{_VERBS}:MODIFY"),
    "remove": Verb("Remove a node from the cluster", f"{_VERBS}:REMOVE"),
}
ALIASES = {"show": "info"}
