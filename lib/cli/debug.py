"""`gnt-debug`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

VERBS = {
    "delay": Verb("Submit a job that does nothing for a time", "ganeti.cli.debug_verbs:DELAY"),
    "locks": Verb("Show who holds locks and who waits for them", "ganeti.cli.listing:LOCKS"),
}
