"""A pytest plugin: where `CI=true`, a skipped test is a failed one, so that nothing goes unproven unnoticed.

Tests marked `where_possible` need a right that a machine may not give, such as to mount a file system: they may be
skipped.
"""

import os
from collections.abc import Generator

import pytest


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true" and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"A skip counts as a failure in CI. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's skip into a failure."""
    report = yield
    if item.get_closest_marker("where_possible") is None:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a whole module's skip into a failure."""
    report = yield
    _fail_if_skipped(report)
    return report
