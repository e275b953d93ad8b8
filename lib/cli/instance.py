"""`gnt-instance`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

_VERBS = "ganeti.cli.instance_verbs"

VERBS = {
    "add": Verb("Create an instance", "ganeti.cli.instance_add:ADD"),
    "console": Verb("Connect to the console of an instance", "ganeti.cli.instance_console:CONSOLE"),
    "failover": Verb("Stop an instance and start it on another node", f"{_VERBS}:FAILOVER"),
    "info": Verb("Show everything about instances", "ganeti.cli.instance_info:INFO"),
    "list": Verb("List instances", "ganeti.cli.listing:INSTANCES"),
    "list-fields": Verb("List the fields that lists can show", "ganeti.cli.listing:INSTANCE_FIELDS"),
    "migrate": Verb("Move a running instance to another node", f"{_VERBS}:MIGRATE"),
    "reboot": Verb("Reboot instances", f"{_VERBS}:REBOOT"),
    "remove": Verb("Stop an instance and remove it with its disks", f"{_VERBS}:REMOVE"),
    "shutdown": Verb("Stop instances", f"{_VERBS}:SHUTDOWN"),
    "startup": Verb("Start instances", f"{_VERBS}:STARTUP"),
}
ALIASES = {"start": "startup", "stop": "shutdown", "show": "info"}
