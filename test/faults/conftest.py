"""The table of figures that a run ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness import Service

pytest.register_assert_rewrite("faults.witness")

from faults.witness import FULL, Row, end  # noqa: E402  after its asserts were registered

_TABLE = pytest.StashKey[dict[str, Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = {}


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str], Row]:
    """A row of the table, by its name; of one name there is one."""
    table = request.config.stash[_TABLE]
    return lambda name: table.setdefault(name, Row(name))


@pytest.fixture
def make_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Make a service that is not started yet; what was started of it is killed at the end."""
    yield from _maker(tmp_path_factory)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """The same, for all tests of a module."""
    yield from _maker(tmp_path_factory)


def _maker(folders: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**settings: str) -> Service:
        made.append(Service(folders.mktemp("service"), **settings))
        return made[-1]

    yield make
    for service in made:
        end(service)


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
