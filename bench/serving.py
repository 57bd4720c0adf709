"""Servers over HTTP: the same pictures, the same clients, and every server in turn in each round.

Beside them, the engine's children alone do the same work: what the service would do if all the rest cost nothing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import looks
from client import WrongAnswerError, connect, follow
from contenders import HERE
from img_contract.testing import free_port
from lines import LineProcess, WorkerFailedError
from machine import CLIENTS, CORES
from rows import Row
from running import Server, ServerFailedError, Usage, started
from served import ALONE, Load
from servers import Made

_SAMPLE_SECONDS: Final = 0.1
_WARM_SECONDS: Final = 1.0


@dataclass(frozen=True)
class _Side:
    """What takes its turn."""

    usage: Usage
    work: Callable[[float], dict[str, Any]]
    """Works for so many seconds and returns what client.py tells."""

    def measure(self, load: Load, seconds: float) -> None:
        """Append a round to what it did."""
        before = self.usage.cpu()
        told = self.work(seconds)
        load.add(told, {part: used - before[part] for part, used in self.usage.cpu().items()})

    def peak_memory(self, seconds: float) -> int:
        """Bytes under load. Looking takes time, so it has a load of its own that counts for nothing else."""
        peak = 0
        with ThreadPoolExecutor(1) as thread:
            working = thread.submit(self.work, seconds)
            while not working.done():
                peak = max(peak, self.usage.pss())
                wait([working], _SAMPLE_SECONDS)
            working.result()
        return peak


def measure(
    made: Mapping[str, Made], row: Row, work: Path, rounds: int, seconds: float, faults: list[str]
) -> dict[str, Load]:
    """Start every server anew, and let each serve one row for so many seconds in every round.

    One that does not do what it should is left out, and `faults` is told why. Raises ServerFailedError or
    WorkerFailedError if it is ours, or if one fails later.
    """
    loads: dict[str, Load] = {}
    with ExitStack() as stack:
        clients = stack.enter_context(_stopped(LineProcess("clients", [sys.executable, str(HERE / "client.py")])))
        for name, make in made.items():
            try:
                loads[name] = _tried(clients, make, row, work, seconds)
            except (ServerFailedError, WorkerFailedError) as fault:
                if name == "ours":
                    raise
                faults.append(f"{name}, {row.title} ({fault})")
        sides = {name: stack.enter_context(_served(clients, made[name], row, work))[1] for name in loads}
        loads[ALONE], sides[ALONE] = Load(), stack.enter_context(_alone(row, work))
        for side in sides.values():
            side.work(min(_WARM_SECONDS, seconds))
        for number in range(rounds):
            for name in sides if number % 2 == 0 else reversed(sides):  # so that nobody always follows the same other
                sides[name].measure(loads[name], seconds)
    return loads


def _tried(clients: LineProcess, make: Made, row: Row, work: Path, seconds: float) -> Load:
    """Look at a server's results and at its memory while no other runs: what both had mapped would count half."""
    with _served(clients, make, row, work) as (server, side):
        return Load(files=_checked(server, row, work), pss=side.peak_memory(seconds))


@contextmanager
def _served(clients: LineProcess, make: Made, row: Row, work: Path) -> Iterator[tuple[Server, _Side]]:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        server = make(free_port(), work / "pictures", Path(folder))
        told = {"plan": asdict(server.plan(row)), "port": server.port, "clients": CLIENTS}
        with started(server, Path(folder)) as usage:
            yield server, _Side(usage, lambda seconds: clients.ask(**told, seconds=seconds))


@contextmanager
def _alone(row: Row, work: Path) -> Iterator[_Side]:
    script, pictures = HERE / "pool_load.py", work / "pictures"
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command: list[str | Path] = [sys.executable, script, str(CORES), row.name, pictures, folder]
        with _stopped(LineProcess(ALONE, command)) as pool:
            yield _Side(Usage({"pool": pool.pid}), lambda seconds: pool.ask(seconds=seconds))


def _checked(server: Server, row: Row, work: Path) -> list[str]:
    """Ask once, and keep the results. Raises ServerFailedError unless they are what the row asks for."""
    plan = server.plan(row)
    connection = connect(server.port)
    try:
        results = follow(connection, plan, Path(plan.upload).read_bytes() if plan.upload else b"")
        return looks.kept(server.name, row, work, results)
    except (WrongAnswerError, looks.SizesDifferError, OSError, HTTPException) as error:
        raise ServerFailedError(str(error)) from error
    finally:
        connection.close()


@contextmanager
def _stopped(process: LineProcess) -> Iterator[LineProcess]:
    try:
        yield process
    finally:
        process.stop()
