from __future__ import annotations

from pathlib import Path

import pytest

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.storage import Storage


def test_each_template_has_its_device(tmp_path: Path) -> None:
    storage = Storage(Paths(str(tmp_path)))
    for template in (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.DISKLESS):
        assert storage.device(template).template is template
        assert storage.device(template) is storage.device(template)
        assert storage.space(str(template)).kind == str(template)


def test_unknown_template_and_kind_are_refused_by_name(tmp_path: Path) -> None:
    storage = Storage(Paths(str(tmp_path)))
    with pytest.raises(StorageError, match="template rbd; it can: diskless, file, sharedfile"):
        storage.device(DiskTemplate.RBD)
    with pytest.raises(StorageError, match="no storage of kind 'lvm-vg'"):
        storage.space("lvm-vg")
