from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base.errors import ExecError, PrereqError
from ganeti.base.paths import Paths
from ganeti.node.osdef.run import OsScripts
from ganeti.node.scripts import Scripts
from support.filled import filled_disk, filled_instance

INSTANCE = filled_instance("web", os="tiny+small", disks=(filled_disk(),), osparams={"mirror": "local"})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), "node2")


@pytest.fixture
def oses(paths: Paths) -> OsScripts:
    return OsScripts(paths, Scripts())


def write_os(paths: Paths, **scripts: str) -> Path:
    folder = Path(paths.os_search_path[0], "tiny")
    folder.mkdir(parents=True)
    (folder / "ganeti_api_version").write_text("20\n")
    (folder / "parameters.list").write_text("mirror where\nkey secret\n")
    (folder / "variants.list").write_text("small\n")
    for name in ("create", "import", "export", "rename", "verify"):
        (folder / name).write_text("#!/bin/sh\n" + scripts.get(name, ""))
        (folder / name).chmod(0o755)
    return folder


def logs(paths: Paths) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(paths.os_log).iterdir()}


def test_create_runs_in_its_directory_with_the_instances_environment(paths: Paths, oses: OsScripts, tmp_path: Path) -> None:
    shown = "$INSTANCE_NAME $OS_VARIANT $DISK_0_PATH $OSP_MIRROR $OSP_KEY [$INSTANCE_REINSTALL]"
    folder = write_os(paths, create=f'pwd; echo "{shown}"')
    oses.create(INSTANCE, ["/dev/x"], reinstall=False, secret={"key": "hunter22"})
    ((name, text),) = logs(paths).items()
    assert name.startswith("tiny-web-") and name.endswith(".log")
    assert text == f"{folder}\nweb small /dev/x local <redacted> []\n"


def test_script_really_gets_the_secret(paths: Paths, oses: OsScripts, tmp_path: Path) -> None:
    write_os(paths, create=f'printf %s "$OSP_KEY" > {tmp_path}/seen')
    oses.create(INSTANCE, ["/dev/x"], reinstall=False, secret={"key": "hunter22"})
    assert (tmp_path / "seen").read_text() == "hunter22"


def test_scripts_learn_of_the_nodes_own_root(paths: Paths, oses: OsScripts, tmp_path: Path) -> None:
    write_os(paths, create='echo "$GANETI_ROOTDIR $GANETI_HOSTNAME"', verify='[ "$GANETI_HOSTNAME" = node2 ]')
    oses.create(INSTANCE, ["/dev/x"], reinstall=False, secret={})
    assert list(logs(paths).values()) == [f"{tmp_path} node2\n"]
    assert oses.validate("tiny", {}, force_variant=False) == ""


def test_reinstallation_is_told(paths: Paths, oses: OsScripts) -> None:
    write_os(paths, create='echo "$INSTANCE_REINSTALL"')
    oses.create(INSTANCE, ["/dev/x"], reinstall=True, secret={})
    assert list(logs(paths).values()) == ["1\n"]


def test_failure_shows_the_last_lines_and_names_the_log(paths: Paths, oses: OsScripts) -> None:
    write_os(paths, create="seq 100; echo $OSP_KEY; exit 7")
    with pytest.raises(ExecError) as caught:
        oses.create(INSTANCE, ["/dev/x"], reinstall=False, secret={"key": "hunter22"})
    text = caught.value.message
    assert "create script of OS tiny failed for instance web (exit status 7)" in text
    assert text.splitlines()[1:] == [*map(str, range(82, 101)), "<redacted>"]
    (name,) = logs(paths)
    assert f"{paths.os_log}/{name}" in text


def test_script_that_takes_too_long_is_ended(paths: Paths) -> None:
    write_os(paths, create="echo begun; sleep 60")
    with pytest.raises(ExecError, match=r"took longer than 0\.2 s and was ended"):
        OsScripts(paths, Scripts(), timeout=0.2).create(INSTANCE, ["/dev/x"], reinstall=False, secret={})


def test_rename_is_told_the_old_name(paths: Paths, oses: OsScripts) -> None:
    write_os(paths, rename='echo "$OLD_INSTANCE_NAME -> $INSTANCE_NAME"')
    oses.rename(INSTANCE, ["/dev/x"], "old.example.com")
    assert list(logs(paths).values()) == ["old.example.com -> web\n"]


def test_untrusted_definition_is_not_run(paths: Paths, oses: OsScripts) -> None:
    folder = write_os(paths)
    os.rename(folder / "create", folder / "create_untrusted")
    with pytest.raises(PrereqError, match="needs a helper machine"):
        oses.create(INSTANCE, ["/dev/x"], reinstall=False, secret={})


def test_parameters_are_checked_by_list_and_by_script(paths: Paths, oses: OsScripts) -> None:
    write_os(paths, verify='[ "$1" = parameters ] || exit 9; [ "$OSP_MIRROR" != bad ] || { echo "no such mirror"; exit 1; }')
    assert oses.validate("tiny+small", {"mirror": "good"}, force_variant=False) == ""
    assert oses.validate("tiny", {"colour": "x"}, force_variant=False) == "OS tiny has no parameter 'colour'; it has: key, mirror"
    assert oses.validate("tiny", {"mirror": "bad"}, force_variant=False).endswith("(exit status 1): no such mirror")


def test_unknown_os_and_variant_are_told(paths: Paths, oses: OsScripts) -> None:
    write_os(paths)
    assert "was not found" in oses.validate("gone", {}, force_variant=False)
    assert "no variant 'odd'" in oses.validate("tiny+odd", {}, force_variant=False)
    assert oses.validate("tiny+odd", {}, force_variant=True) == ""


def test_old_interface_takes_no_parameters(paths: Paths, oses: OsScripts) -> None:
    folder = write_os(paths)
    (folder / "ganeti_api_version").write_text("15\n")
    assert oses.validate("tiny", {}, force_variant=False) == ""
    assert "takes no parameters" in oses.validate("tiny", {"mirror": "x"}, force_variant=False)
