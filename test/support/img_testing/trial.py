"""Tasks in a real child, and what they cost; imported in the child, too."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from img_engine.process.child import start_child
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from pebble import ProcessPool

CHILD_BYTES = 2**30
Result = TypeVar("Result")
LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=CHILD_BYTES, animation_pixels=8_000_000)


@dataclass(frozen=True)
class Trap:
    """A path that raises an error when it is opened."""

    error: Exception

    def __fspath__(self) -> str:
        raise self.error


@dataclass(frozen=True)
class Verdict:
    result: RenderOutcome | Refusal
    cost: float
    """CPU time, in what the yardstick took just before or after it: a slow or a busy machine is slow at both."""
    peak_bytes: int
    """The most memory that the child held while rendering."""


def tried(task: Task) -> Verdict:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what came before (proc_pid_clear_refs(5))
    result, cost = costing(lambda: render(task))
    return Verdict(result, cost, _peak_bytes())


def costing(work: Callable[[], Result]) -> tuple[Result, float]:
    """Do something here; give what it gives, and what it cost, as `Verdict.cost`."""
    before = _yardstick()
    began = _cpu_seconds()
    result = work()
    took = _cpu_seconds() - began
    return result, took / max(before, _yardstick())


def _yardstick() -> float:
    """CPU seconds of a fixed number of steps in Python."""
    began = _cpu_seconds()
    for number in range(500_000):
        _ = number * number
    return _cpu_seconds() - began


def oom_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def pool() -> ProcessPool:
    """One child, started as the engine starts its own."""
    return ProcessPool(1, initializer=start_child, initargs=(CHILD_BYTES,), context=get_context("forkserver"))


@contextmanager
def child() -> Iterator[Callable[[Task], Verdict]]:
    """It tries a task after the other. Raises ProcessExpired if it dies."""
    with pool() as children:
        yield lambda task: children.schedule(tried, args=(task,), timeout=60).result()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
