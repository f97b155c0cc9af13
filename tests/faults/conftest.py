"""The table of faults: every test in this directory is a row of it, its docstring what happens.

A row puts up a state that real use leaves behind and says what hive-pg makes of it. `LostError` is
raised where a row finds that data, credentials or a neighbour did not survive.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from laboratory import LostError

HERE = Path(__file__).parent
outcomes: list[str] = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Note how a row ended."""
    outcome = yield
    report = outcome.get_result()
    if HERE not in item.path.parents or report.skipped:
        return
    if call.excinfo is not None and call.excinfo.errisinstance(LostError):
        outcomes.append("lost")
    elif report.when == "call" or report.failed:
        outcomes.append(report.outcome)


def pytest_terminal_summary(terminalreporter):
    """Print what became of the rows that were tried."""
    if outcomes:
        tried, survived, lost = len(outcomes), outcomes.count("passed"), outcomes.count("lost")
        terminalreporter.write_line(f"faults: {tried} tried, {survived} survived, {lost} lost")
