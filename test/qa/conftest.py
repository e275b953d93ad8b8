"""Clusters of the end-to-end tests. When a test fails, the last lines of all their logs are shown and the logs are kept."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from support.qacluster import FACTS, LIVING


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when != "teardown":
        for cluster in LIVING:
            factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]  # pytest has no public way
            folder = factory.getbasetemp() / f"logs-{cluster.name}"
            cluster.keep_logs(folder)
            report.sections.append((f"logs of cluster {cluster.name}, kept in {folder}", cluster.logs()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FACTS:
        terminalreporter.section("measured")
        for fact in FACTS:
            terminalreporter.write_line(fact)
