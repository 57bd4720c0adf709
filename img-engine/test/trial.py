"""A task in a real child, and what it took: imported there, too."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from img_engine.process.child import start_child
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from pebble import ProcessPool

CHILD_BYTES = 2**30
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
    cpu_seconds: float
    peak_bytes: int
    """The most memory that the child ever held while it was at it."""


def tried(task: Task) -> Verdict:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what came before (proc_pid_clear_refs(5))
    before = _cpu_seconds()
    result = render(task)
    return Verdict(result, _cpu_seconds() - before, _peak_bytes())


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
