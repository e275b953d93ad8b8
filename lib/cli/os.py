"""`gnt-os`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

VERBS = {"list": Verb("List operating systems that can be installed", "ganeti.cli.os_list:LIST")}
