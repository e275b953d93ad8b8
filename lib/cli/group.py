"""`gnt-group`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

VERBS = {
    "list": Verb("List node groups", "ganeti.cli.listing:GROUPS"),
    "list-fields": Verb("List the fields that lists can show", "ganeti.cli.listing:GROUP_FIELDS"),
}
