"""`gnt-job`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

_VERBS = "ganeti.cli.job_verbs"

VERBS = {
    "cancel": Verb("Cancel jobs", f"{_VERBS}:CANCEL"),
    "info": Verb("Show everything about jobs", "ganeti.cli.job_info:INFO"),
    "list": Verb("List jobs", "ganeti.cli.job_list:LIST"),
    "list-fields": Verb("List the fields that lists can show", "ganeti.cli.job_list:LIST_FIELDS"),
    "wait": Verb("Wait for a job to end", f"{_VERBS}:WAIT"),
    "watch": Verb("Follow a job's messages until it ends", f"{_VERBS}:WATCH"),
}
ALIASES = {"show": "info"}
