"""Rules for all tiers: a test that did not run is red, and no test sees this machine's settings."""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest

ALLOW_SKIP = "GANETI_ALLOW_SKIP"

# No deadline: the machine is shared. In CI the same examples every time: red means that the change is at fault.
hypothesis.settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("ours")


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip, an expected failure or an unexpected pass into a failure."""
    marked = hasattr(report, "wasxfail")
    if not (report.skipped or marked) or os.environ.get(ALLOW_SKIP):
        return
    if marked:
        reason = f"marked as expected failure: {report.wasxfail}"
    else:
        reason = f"skipped: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}"
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was not really tested ({reason}). Set {ALLOW_SKIP}=1 to accept that."
    if marked:
        del report.wasxfail


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.geteuid() != 0 and item.get_closest_marker("root"):
        pytest.skip("it needs root")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide variables by which a developer directs the product, so that results do not depend on them."""
    for name in list(os.environ):
        if name.startswith(("GANETI_", "GNT_")) and name != ALLOW_SKIP:
            monkeypatch.delenv(name)
