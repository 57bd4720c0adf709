"""The table of figures that a run ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from img_testing.service import Service
from img_testing.witness import FULL, Row, end

_TABLE = pytest.StashKey[dict[str, Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = {}


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str], Row]:
    """A row of the table, by its name; of one name there is one."""
    table = request.config.stash[_TABLE]
    return lambda name: table.setdefault(name, Row(name))


@pytest.fixture
def make_service(make_service: Callable[..., Service]) -> Iterator[Callable[..., Service]]:
    """The same, killed at the end rather than stopped: here are processes that would not stop."""
    yield from _killed(make_service)


@pytest.fixture(scope="module")
def standing(standing: Callable[..., Service]) -> Iterator[Callable[..., Service]]:
    """The same, killed at the end."""
    yield from _killed(standing)


def _killed(make: Callable[..., Service]) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make_and_note(**settings: str) -> Service:
        made.append(make(**settings))
        return made[-1]

    yield make_and_note
    for service in made:
        end(service)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With pytest-xdist, send the rows of this worker to the process that prints the table."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["rows"] = [row.figures() for row in session.config.stash[_TABLE].values()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    table = node.config.stash[_TABLE]
    for figures in getattr(node, "workeroutput", {}).get("rows", ()):
        table.setdefault(figures["name"], Row(figures["name"])).merge(figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[_TABLE].values()
    if not table:
        return
    terminalreporter.section(f"faults ({'full' if FULL else 'short'})")
    terminalreporter.line("| fault | rounds | jobs | lost | extra attempts | slowest recovery |")
    terminalreporter.line("| --- | --- | --- | --- | --- | --- |")
    for row in table:
        slowest = f"{row.slowest:.1f} s" if row.slowest else ""
        terminalreporter.line(
            f"| {row.name} | {row.rounds} | {row.jobs} | {row.lost} | {row.extra} | {slowest} |"
            + "".join(f" {remark};" for remark in row.remarks)
        )
