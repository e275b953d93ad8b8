from __future__ import annotations

from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.node.calls.os import OsCalls
from ganeti.node.services import build_services
from support.doors import open_doors
from support.filled import filled_disk, filled_instance

WEB = filled_instance("web", os="noop", disks=(filled_disk(),))


def test_scripts_get_the_devices_behind_the_links(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), "node2")
    folder = Path(paths.os_search_path[0], "noop")
    folder.mkdir(parents=True)
    (folder / "ganeti_api_version").write_text("15\n")
    for name in ("create", "import", "export", "rename"):
        (folder / name).write_text(f'#!/bin/sh\necho "$0 $DISK_0_PATH $OLD_INSTANCE_NAME" >> {tmp_path}/seen\n')
        (folder / name).chmod(0o755)
    (tmp_path / "disk").touch()
    with open_doors(paths) as doors:
        services = build_services(doors, 1811, lambda: None)
        calls = OsCalls(services)
        with pytest.raises(HypervisorError, match="is not assembled"):
            calls.os_create(WEB, False, {})
        services.links.make("web", 0, str(tmp_path / "disk"))
        calls.os_create(WEB, False, {})
        calls.os_rename(WEB, "old")
        assert calls.os_validate("noop", {}, False) == ""
    assert (tmp_path / "seen").read_text() == f"{folder}/create {tmp_path}/disk \n{folder}/rename {tmp_path}/disk old\n"
