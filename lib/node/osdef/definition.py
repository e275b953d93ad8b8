"""OS definitions: directories of scripts that install guests (OS API 10, 15 and 20).

A definition ``<search path>/<name>/`` holds ``ganeti_api_version`` (numbers, one a line), the executables ``create`` (or
``create_untrusted``), ``import``, ``export`` and ``rename``, from API 15 on ``variants.list`` (optional; the first one is the
default), from API 20 on ``verify`` and ``parameters.list``. The first directory of a name in the search path counts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ganeti.base.errors import Code, PrereqError
from ganeti.base.files import read_text
from ganeti.model.filled import os_base
from ganeti.rpc.node.replies import OsVariantInfo

SUPPORTED = frozenset({10, 15, 20})
API_FILE = "ganeti_api_version"
VARIANTS_FILE = "variants.list"
PARAMETERS_FILE = "parameters.list"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SCRIPTS = ("import", "export", "rename")


@dataclass(frozen=True)
class Definition:
    """A definition that can be used, or `problem` says why it cannot."""

    name: str
    path: str
    problem: str = ""
    api_versions: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    trusted: bool = True

    @property
    def api(self) -> int:
        """The highest version that both sides know."""
        return max(set(self.api_versions) & SUPPORTED, default=0)

    def script(self, name: str) -> str:
        return os.path.join(self.path, name)

    def choose_variant(self, full_name: str, *, force: bool = False) -> str:
        """The variant for ``name+variant`` (the first one if none is given; empty if the OS has none). Raises `PrereqError`."""
        variant = full_name.partition("+")[2]
        if not self.variants:
            if variant:
                raise PrereqError(f"OS {self.name} has no variants, but '{full_name}' was asked for", Code.INVAL)
            return ""
        if variant and variant not in self.variants and not force:
            raise PrereqError(f"OS {self.name} has no variant '{variant}'; it has: {', '.join(self.variants)}", Code.INVAL)
        return variant or self.variants[0]

    def info(self) -> OsVariantInfo:
        return OsVariantInfo(
            name=self.name,
            path=self.path,
            valid=not self.problem,
            message=self.problem,
            api_versions=list(self.api_versions),
            variants=list(self.variants),
            parameters=list(self.parameters),
            trusted=self.trusted,
        )


def find_all(search_path: Sequence[str]) -> list[Definition]:
    """Every definition found, valid or not, by name."""
    found: dict[str, Definition] = {}
    for directory in search_path:
        for name in _names_in(directory):
            if name not in found:
                found[name] = read(name, os.path.join(directory, name))
    return [found[name] for name in sorted(found)]


def find(search_path: Sequence[str], full_name: str) -> Definition:
    """The definition of ``name`` or ``name+variant``. Raises `PrereqError` if there is none or it is not valid."""
    name = os_base(full_name)
    for directory in search_path if _NAME.fullmatch(name) else ():
        path = os.path.join(directory, name)
        if os.path.isdir(path):
            definition = read(name, path)
            if definition.problem:
                raise PrereqError(f"OS definition {path} cannot be used: {definition.problem}", Code.ENVIRON)
            return definition
    raise PrereqError(f"OS '{name}' was not found on this node; searched: {', '.join(search_path)}", Code.NOENT)


def _names_in(directory: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return  # a directory of the search path that is not there holds nothing
    for entry in entries:
        if _NAME.fullmatch(entry.name) and entry.is_dir():
            yield entry.name


class _Problem(Exception):
    """Why a definition cannot be used."""


def read(name: str, path: str) -> Definition:
    """Look at one definition's directory. Whatever is wrong with it ends up in `problem`."""
    versions: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    trusted = True
    try:
        versions = _read_versions(path)
        api = max(set(versions) & SUPPORTED, default=0)
        if not api:
            listed = ", ".join(map(str, sorted(SUPPORTED)))
            raise _Problem(f"it speaks API {', '.join(map(str, versions)) or 'none'}; supported are {listed}")
        trusted = _check_scripts(path, api)
        if api >= 15:
            variants = _read_variants(path)
        if api >= 20:
            parameters = _read_parameters(path)
    except _Problem as err:
        return Definition(name, path, str(err), versions, variants, parameters, trusted)
    return Definition(name, path, "", versions, variants, parameters, trusted)


def _read_versions(path: str) -> tuple[int, ...]:
    lines = _read_lines(path, API_FILE)
    if lines is None:
        raise _Problem(f"file {API_FILE} is missing")
    try:
        return tuple(int(line) for line in lines)
    except ValueError:
        raise _Problem(f"file {API_FILE} holds something else than numbers") from None


def _check_scripts(path: str, api: int) -> bool:
    """Check that every script is there and executable; returns whether ``create`` is (and not only ``create_untrusted``)."""
    for name in (*_SCRIPTS, *(("verify",) if api >= 20 else ())):
        _check_script(path, name)
    trusted = os.path.exists(os.path.join(path, "create"))
    _check_script(path, "create" if trusted or not os.path.exists(os.path.join(path, "create_untrusted")) else "create_untrusted")
    return trusted


def _check_script(path: str, name: str) -> None:
    try:
        found = os.stat(os.path.join(path, name))
    except FileNotFoundError:
        raise _Problem(f"script {name} is missing") from None
    except OSError as err:
        raise _Problem(f"script {name} cannot be looked at: {err.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise _Problem(f"script {name} is not a regular file")
    if not found.st_mode & stat.S_IXUSR:
        raise _Problem(f"script {name} is not executable")


def _read_variants(path: str) -> tuple[str, ...]:
    lines = _read_lines(path, VARIANTS_FILE)
    if lines is None:
        return ()
    if not lines:
        raise _Problem(f"file {VARIANTS_FILE} names no variant")
    return tuple(lines)


def _read_parameters(path: str) -> tuple[tuple[str, str], ...]:
    lines = _read_lines(path, PARAMETERS_FILE)
    if lines is None:
        raise _Problem(f"file {PARAMETERS_FILE} is missing")
    pairs = (line.split(None, 1) for line in lines)
    return tuple((words[0].lower(), words[1] if len(words) > 1 else "") for words in pairs)


def _read_lines(path: str, name: str) -> list[str] | None:
    """Lines without comments and empty ones; None if there is no such file."""
    try:
        text = read_text(os.path.join(path, name))
    except FileNotFoundError:
        return None
    except OSError as err:
        raise _Problem(f"file {name} cannot be read: {err.strerror}") from None
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
