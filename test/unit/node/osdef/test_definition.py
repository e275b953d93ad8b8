from __future__ import annotations

from pathlib import Path

import pytest

from ganeti.base.errors import PrereqError
from ganeti.node.osdef import definition as definitions
from ganeti.node.osdef.definition import Definition

FILES = {
    "ganeti_api_version": "20\n",
    "parameters.list": "mirror  Where packages come from\nroot-password\n",
    "variants.list": "# comment\nsmall\n\nlarge\n",
}
SCRIPTS = ("create", "import", "export", "rename", "verify")


def write_os(folder: Path, name: str, files: dict[str, str | None] | None = None, leave_out: tuple[str, ...] = ()) -> Path:
    """A valid definition, changed by `files` (None: not there) and without the scripts of `leave_out`."""
    path = folder / name
    path.mkdir(parents=True)
    for script in SCRIPTS:
        if script not in leave_out:
            (path / script).write_text("#!/bin/sh\n")
            (path / script).chmod(0o755)
    for file, text in {**FILES, **(files or {})}.items():
        if text is not None:
            (path / file).write_text(text)
    return path


def problem_of(folder: Path, **options: object) -> str:
    write_os(folder, "tiny", **options)  # type: ignore[arg-type]  # options of the helper above
    return definitions.read("tiny", str(folder / "tiny")).problem


def test_valid_definition_is_read(tmp_path: Path) -> None:
    path = write_os(tmp_path, "tiny")
    assert definitions.read("tiny", str(path)) == Definition(
        name="tiny",
        path=str(path),
        api_versions=(20,),
        variants=("small", "large"),
        parameters=(("mirror", "Where packages come from"), ("root-password", "")),
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"files": {"ganeti_api_version": None}}, "file ganeti_api_version is missing"),
        ({"files": {"ganeti_api_version": "twenty"}}, "holds something else than numbers"),
        ({"files": {"ganeti_api_version": ""}}, "speaks API none; supported are 10, 15, 20"),
        ({"files": {"ganeti_api_version": "5\n99\n"}}, "speaks API 5, 99"),
        ({"files": {"parameters.list": None}}, "file parameters.list is missing"),
        ({"files": {"variants.list": "\n"}}, "names no variant"),
        ({"leave_out": ("create",)}, "script create is missing"),
        ({"leave_out": ("rename",)}, "script rename is missing"),
        ({"leave_out": ("verify",)}, "script verify is missing"),
    ],
)
def test_broken_definition_says_why(tmp_path: Path, options: dict[str, object], problem: str) -> None:
    assert problem in problem_of(tmp_path, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"files": {"variants.list": None}},
        {"files": {"ganeti_api_version": "99\n15\n", "parameters.list": None}, "leave_out": ("verify",)},
        {"files": {"ganeti_api_version": "10", "parameters.list": None, "variants.list": None}, "leave_out": ("verify",)},
    ],
)
def test_older_interfaces_need_less(tmp_path: Path, options: dict[str, object]) -> None:
    assert problem_of(tmp_path, **options) == ""


def test_script_must_be_an_executable_file(tmp_path: Path) -> None:
    path = write_os(tmp_path, "tiny")
    (path / "import").chmod(0o644)
    assert definitions.read("tiny", str(path)).problem == "script import is not executable"
    (path / "import").unlink()
    (path / "import").mkdir()
    assert definitions.read("tiny", str(path)).problem == "script import is not a regular file"


def test_untrusted_create_takes_the_place_of_create(tmp_path: Path) -> None:
    path = write_os(tmp_path, "tiny", leave_out=("create",))
    (path / "create_untrusted").write_text("#!/bin/sh\n")
    (path / "create_untrusted").chmod(0o755)
    found = definitions.read("tiny", str(path))
    assert (found.problem, found.trusted) == ("", False)


def test_first_directory_of_a_name_counts(tmp_path: Path) -> None:
    write_os(tmp_path / "a", "tiny", {"variants.list": "first\n"})
    write_os(tmp_path / "b", "tiny")
    write_os(tmp_path / "b", "noop", {"ganeti_api_version": None})
    (tmp_path / "b" / "README").touch()
    (tmp_path / "b" / ".git").mkdir()
    search = (str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b"))
    found = definitions.find_all(search)
    assert [(one.name, one.variants, bool(one.problem)) for one in found] == [("noop", (), True), ("tiny", ("first",), False)]
    assert definitions.find(search, "tiny+first").path == str(tmp_path / "a" / "tiny")


@pytest.mark.parametrize("name", ["gone", "../tiny", "", ".", "+small", "a/b"])
def test_unknown_name_is_an_error(tmp_path: Path, name: str) -> None:
    write_os(tmp_path / "a", "tiny")
    (tmp_path / "b").mkdir()
    with pytest.raises(PrereqError, match="was not found on this node"):
        definitions.find((str(tmp_path / "b"), str(tmp_path / "a")), name)


def test_broken_definition_cannot_be_used(tmp_path: Path) -> None:
    write_os(tmp_path, "tiny", {"ganeti_api_version": None})
    with pytest.raises(PrereqError, match="cannot be used: file ganeti_api_version is missing"):
        definitions.find((str(tmp_path),), "tiny")


def test_variant_is_chosen() -> None:
    plain = Definition("noop", "/x")
    some = Definition("tiny", "/x", variants=("small", "large"))
    assert plain.choose_variant("noop") == ""
    assert some.choose_variant("tiny") == "small"
    assert some.choose_variant("tiny+large") == "large"
    assert some.choose_variant("tiny+odd", force=True) == "odd"
    with pytest.raises(PrereqError, match="no variant 'odd'; it has: small, large"):
        some.choose_variant("tiny+odd")
    with pytest.raises(PrereqError, match="has no variants"):
        plain.choose_variant("noop+x")


def test_highest_common_interface_is_used() -> None:
    assert Definition("x", "/x", api_versions=(10, 15, 25)).api == 15
