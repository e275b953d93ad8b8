"""A test that did not run is red (test/conftest.py)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


def run_pytest(folder: Path, body: str, allow: bool = False) -> str:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_it.py").write_text(body)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"GANETI_ALLOW_SKIP": "1"} if allow else {},
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
