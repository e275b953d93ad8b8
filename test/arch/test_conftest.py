"""A test that did not run is red (test/conftest.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


# Another user, who still may read a checkout of root's.
USER = ["setpriv", "--reuid=65534", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def run_pytest(folder: Path, body: str, allow: bool = False, prefix: Sequence[str] = ()) -> str:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_it.py").write_text(body)
    result = subprocess.run(
        [*prefix, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **({"GANETI_ALLOW_SKIP": "1"} if allow else {})},
        check=False,
    )
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "body",
    [
        "import pytest\ndef test_a(): pytest.skip('no tool')",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): pass",
    ],
)
def test_test_that_did_not_run_is_red(tmp_path: Path, body: str) -> None:
    assert "1 failed" in run_pytest(tmp_path, body)


def test_module_that_was_skipped_is_red(tmp_path: Path) -> None:
    assert "1 error" in run_pytest(tmp_path, "import pytest\npytest.importorskip('no_such_module_at_all')")


def test_skips_can_be_allowed(tmp_path: Path) -> None:
    assert "1 skipped" in run_pytest(tmp_path, "import pytest\ndef test_a(): pytest.skip('x')", allow=True)


@pytest.mark.root
def test_user_without_rights_may_leave_out_what_needs_root(tmp_path: Path) -> None:
    body = "import pytest\n@pytest.mark.root\ndef test_a(): pass\ndef test_b(): pass"
    assert "2 passed" in run_pytest(tmp_path, body)
    assert "1 error" in run_pytest(tmp_path, body, prefix=USER)
    assert "1 skipped" in run_pytest(tmp_path, body, allow=True, prefix=USER)
