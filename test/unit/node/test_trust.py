from __future__ import annotations

import hashlib
from pathlib import Path

from ganeti.base.paths import Paths
from ganeti.node.ssconf import Ssconf
from ganeti.node.trust import Callers

ONE, TWO = b"certificate one", b"certificate two"


def write(paths: Paths, **digests: bytes) -> None:
    lines = [f"{uuid}={hashlib.sha256(der).hexdigest()}" for uuid, der in digests.items()]
    Ssconf(paths).write({"master_candidates_certs": "\n".join(lines)})


def test_nobody_may_call_before_the_file_is_there(tmp_path: Path) -> None:
    assert Callers(Paths(str(tmp_path))).identify(ONE) is None


def test_nobody_may_call_while_the_file_is_empty(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    write(paths)
    assert Callers(paths).identify(ONE) is None


def test_listed_certificate_is_known_by_its_node(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    write(paths, uuid1=ONE, uuid2=TWO)
    callers = Callers(paths)
    assert (callers.identify(ONE), callers.identify(TWO), callers.identify(b"other")) == ("uuid1", "uuid2", None)
    assert callers.identify(None) is None


def test_change_of_the_file_counts_at_once(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    write(paths, uuid1=ONE)
    callers = Callers(paths)
    assert callers.identify(ONE) == "uuid1"
    write(paths, uuid2=TWO)
    assert callers.identify(ONE) is None
    assert callers.identify(TWO) == "uuid2"
    Path(paths.ssconf("master_candidates_certs")).unlink()
    assert callers.identify(TWO) is None


def test_digests_may_be_written_with_colons_and_capitals(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    digest = hashlib.sha256(ONE).hexdigest().upper()
    text = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
    Ssconf(paths).write({"master_candidates_certs": f"uuid1={text}"})
    assert Callers(paths).identify(ONE) == "uuid1"
