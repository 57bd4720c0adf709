"""The whole service over HTTP against its own children alone: the same file, the same number of children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from contenders import HERE
from img_testing.service import Service

CORES: Final = len(os.sched_getaffinity(0))
CLIENTS: Final = 3 * CORES
_AS_SHIPPED: Final = {"IMG_ENGINE__HEARTBEAT_SECONDS": "5", "IMG_ENGINE__LEASE_SECONDS": "30"}
"""The tests' service beats faster."""


@dataclass
class Load:
    """What was done under load, one figure a round."""

    rate: list[float] = field(default_factory=list)
    """Images a second."""
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    """CPU milliseconds an image, by part."""

    def add(self, images: int, seconds: float, cpu: dict[str, float]) -> None:
        """Append a round; CPU in seconds."""
        self.rate.append(images / seconds)
        for part, used in cpu.items():
            self.cpu_ms.setdefault(part, []).append(used / images * 1000)


@dataclass
class Comparison:
    """The two sides."""

    http: Load = field(default_factory=Load)
    pool: Load = field(default_factory=Load)


def compare(picture: Path, work: Path, rounds: int, seconds: float) -> Comparison:
    """Both sides, in turns, for so many seconds each."""
    found = Comparison()
    with (
        tempfile.TemporaryDirectory(dir=work) as name,
        _http(Path(name), picture) as load_http,
        _pool(Path(name), picture) as load_pool,
    ):
        for number in range(rounds + 1):
            measured = found if number else Comparison()  # the first round warms up
            load_http(measured.http, seconds)
            load_pool(measured.pool, seconds)
    return found


@contextmanager
def _http(folder: Path, picture: Path) -> Iterator[Callable[[Load, float], None]]:
    service = Service(folder, **_AS_SHIPPED, IMG_ENGINE__CHILDREN=str(CORES))
    try:
        rest, engine = service.start_rest().pid, service.start_engine().pid
        with _told_seconds([HERE / "client.py", str(service.port), str(CLIENTS), picture]) as ask:

            def load(into: Load, seconds: float) -> None:
                before = _cpu_of_parts(rest, engine)
                told = ask(seconds)
                after = _cpu_of_parts(rest, engine)
                used = {part: after[part] - before[part] for part in after}
                into.add(told["images"], told["seconds"], {"clients": told["cpu"], **used})

            yield load
    finally:
        service.stop()


def _cpu_of_parts(rest: int, engine: int) -> dict[str, float]:
    """CPU seconds so far; children of the engine apart from the engine itself."""
    parent = psutil.Process(engine)
    return {
        "img-rest": _cpu([psutil.Process(rest), *psutil.Process(rest).children(recursive=True)]),
        "img-engine": _cpu([parent]),
        "children": _cpu(parent.children(recursive=True)),
    }


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def _pool(folder: Path, picture: Path) -> Iterator[Callable[[Load, float], None]]:
    with _told_seconds([HERE / "pool_load.py", str(CORES), picture, folder]) as ask:

        def load(into: Load, seconds: float) -> None:
            told = ask(seconds)
            into.add(told["images"], told["seconds"], told["cpu"])

        yield load


@contextmanager
def _told_seconds(arguments: list[str | Path]) -> Iterator[Callable[[float], Any]]:
    """A process that is told a number of seconds a line, works that long, and answers with a JSON line."""
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pipes = process.stdin, process.stdout

    def ask(seconds: float) -> Any:
        assert pipes[0]
        assert pipes[1]
        pipes[0].write(f"{seconds}\n")
        pipes[0].flush()
        return json.loads(pipes[1].readline())

    try:
        yield ask
    finally:
        process.communicate()  # its input ends, and so does it
