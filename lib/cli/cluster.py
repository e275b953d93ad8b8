"""`gnt-cluster`: its sub-commands."""

from __future__ import annotations

from ganeti.cli.command import Verb

_VERBS = "ganeti.cli.cluster_verbs"

VERBS = {
    "destroy": Verb("Destroy the cluster", f"{_VERBS}:DESTROY"),
    "getmaster": Verb("Show the name of the master", "ganeti.cli.cluster_master:GETMASTER"),
    "info": Verb("Show the settings of the cluster", "ganeti.cli.cluster_info:INFO"),
    "init": Verb("Make this host the first node of a new cluster", f"{_VERBS}:INIT"),
    "verify": Verb("Check the cluster", "ganeti.cli.cluster_verify:VERIFY"),
    "version": Verb("Show versions", "ganeti.cli.cluster_master:VERSION"),
}
