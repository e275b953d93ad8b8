"""Whether the directories for disks are usable on every node that can host instances."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.model.enums import DiskTemplate
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node

_CODES = {
    DiskTemplate.FILE: VerifyCode.ENODEFILESTORAGEPATHUNUSABLE,
    DiskTemplate.SHAREDFILE: VerifyCode.ENODESHAREDFILESTORAGEPATHUNUSABLE,
}


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Directories of files and shared files."""
    directories = {
        DiskTemplate.FILE: facts.cluster.file_storage_dir,
        DiskTemplate.SHAREDFILE: facts.cluster.shared_file_storage_dir,
    }
    for node, answer in facts.answered():
        for template, directory in directories.items():
            problem = answer.storage.get(directory, "")
            if problem and node.vm_capable and template in facts.cluster.enabled_disk_templates:
                yield on_node(_CODES[template], node, f"storage of template {template}: {problem}")
