"""The pool of children: it survives whatever a picture does to one of them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Final

import structlog
from img_contract.job.outcome import Failure, FailureCode
from pebble import CONSTS, ProcessExpired, ProcessFuture, ProcessPool

from img_engine.errors import AttemptSpent, ChildrenBroken
from img_engine.process.child import memory_is_limited, render_within, start_child
from img_engine.render.task import Refusal, RenderOutcome, Task

_CGROUP_MEMORY: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)
_PARENT_BYTES: Final = 256 * 1024 * 1024

Rendering = ProcessFuture[RenderOutcome | Refusal]

CHILD_ENVIRONMENT: Final = {
    # Let glibc keep freed memory for the next picture. By default it returns it to the kernel, and a large picture
    # spends up to a third of its time on new pages.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
    # A child has one core; threads of a library for matrices would only take address space.
    "OPENBLAS_NUM_THREADS": "1",
}
"""The environment of the children, beside the engine's own."""

_START_SECONDS: Final = 30.0
"""How long a child may take to start on a busy machine."""

_CPU_SHARE: Final = 0.8
"""A picture that takes this share of its time as CPU time would take it again, and fails at once."""

_BUSY_TICK_SECONDS: Final = 0.02
"""While a child works, pebble looks this often whether one has died or has to be stopped; its default is 0.1."""

_IDLE_TICK_SECONDS: Final = 0.5
"""While none works, which costs next to nothing. Tasks and results wait for no tick."""

_START_CPU_SECONDS: Final = 2
"""More than the CPU time that a child takes to start."""

log = structlog.get_logger(__name__)


class Children:
    """A number of child processes. Thread-safe."""

    def __init__(self, count: int, address_space_bytes: int, task_seconds: float) -> None:
        self._count = count
        self._address_space = address_space_bytes
        self._seconds = task_seconds
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        self._cpu_seconds, self._tasks_each = cpu_budget(task_seconds, None if hard == resource.RLIM_INFINITY else hard)
        self._busy = 0
        CONSTS.sleep_unit = _IDLE_TICK_SECONDS
        CONSTS.term_timeout = 0.5  # a child that ignores SIGTERM is killed half a second after its limit
        self._lock = threading.Lock()
        # A fork server: children start from a small process that has imported Pillow, and inherit no lock of ours.
        os.environ.update(CHILD_ENVIRONMENT)  # the fork server takes its environment from here
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["img_engine.process.child"])
        _start_helpers()
        self._pool = self._new_pool()

    def wait_ready(self) -> None:
        """Wait until a child has started. Raises ChildrenBroken if none can."""
        try:
            if not self._pool.schedule(memory_is_limited).result(timeout=_START_SECONDS):
                log.warning("memory_not_limited", wanted=self._address_space)
        except (BrokenProcessPool, ProcessExpired, TimeoutError) as error:
            raise ChildrenBroken(f"no child can be started within {_START_SECONDS:g} seconds: {error!r}") from error

    def render(self, task: Task, started: Callable[[Rendering], None]) -> RenderOutcome | Refusal:
        """Render in a child and wait for it. `started` is called with the future, which can be cancelled.

        Raises AttemptSpent if the child died or outran its time, CancelledError, ChildrenBroken; and whatever `render`
        raised in the child: OSError for the disk, anything else is a defect.
        """
        with self._ticking():
            return self._render(task, started)

    def stop(self) -> None:
        """Kill what still runs."""
        with self._lock:
            self._pool.stop()
            self._pool.join()

    def _render(self, task: Task, started: Callable[[Rendering], None]) -> RenderOutcome | Refusal:
        try:
            future = self._schedule(task)
        except RuntimeError as error:  # the pool broke down, or is being stopped
            raise ChildrenBroken(f"the children are being restarted: {error!r}") from error
        started(future)
        try:
            # Pebble's own limit, from the task's start, comes first; before its start another task may have to end.
            return future.result(timeout=2 * self._seconds + _START_SECONDS)
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:  # from the disk, not from the clock
                raise
            future.cancel()
            raise AttemptSpent(f"the picture took longer than {self._seconds:g} seconds and was stopped") from None
        except ProcessExpired as error:
            if error.exitcode == -signal.SIGXCPU:
                detail = (
                    f"the picture took more than {self._cpu_seconds} seconds of CPU time; "
                    "ask for less effort, a smaller result or another format"
                )
                return Refusal(Failure(code=FailureCode.TOO_SLOW, detail=detail, limit=self._cpu_seconds), None)
            raise AttemptSpent(f"the process that rendered it died ({_manner(error.exitcode)})") from None
        except BrokenProcessPool as error:
            raise ChildrenBroken(f"the children are being restarted: {error!r}") from error

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Have pebble look after its children closely while a task is under way."""
        with self._lock:
            self._busy += 1
            CONSTS.sleep_unit = _BUSY_TICK_SECONDS
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                if not self._busy:
                    CONSTS.sleep_unit = _IDLE_TICK_SECONDS

    def _schedule(self, task: Task) -> Rendering:
        with self._lock:
            if not self._pool.active:  # pebble stops a pool whose child dies while idle
                log.warning("children_restarted")
                self._pool.stop()
                self._pool.join()
                self._pool = self._new_pool()
            return self._pool.schedule(render_within, args=(task, self._cpu_seconds), timeout=self._seconds)

    def _new_pool(self) -> ProcessPool:
        pool = ProcessPool(
            max_workers=self._count,
            max_tasks=self._tasks_each,
            initializer=start_child,
            initargs=(self._address_space,),
            context=self._context,
        )
        if not pool.active:  # this question starts the children, so that the first job finds them ready
            raise RuntimeError("a new pool of children is not active")
        return pool


def _start_helpers() -> None:
    """Start the processes that multiprocessing needs beside the children, with /dev/null for stdout and stderr.

    The fork server's children have the same. Libraries in C write there what they think of a picture; were it the
    engine's stderr, and that a pipe that is full, they would wait for its reader until their time is over. The resource
    tracker would wait there after the engine was killed.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    ours = {number: os.dup(number) for number in (1, 2)}
    for number in ours:
        os.dup2(nowhere, number)
    try:
        resource_tracker.ensure_running()
        forkserver.ensure_running()
    finally:
        for number, descriptor in ours.items():
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(nowhere)


def cpu_budget(task_seconds: float, hard: int | None) -> tuple[int, int]:
    """Return how many seconds of CPU a task may take, and how many tasks a child; 0 tasks: any number.

    A hard limit of CPU seconds that the engine has inherited holds for each child, and counts all of its tasks.
    """
    seconds = max(1, int(task_seconds * _CPU_SHARE))
    if hard is None:
        return seconds, 0
    left = hard - _START_CPU_SECONDS
    seconds = max(1, min(seconds, left - 1))  # the kernel counts in whole seconds
    return seconds, max(1, left // (seconds + 1))


def children_for_this_machine(address_space_bytes: int) -> int:
    """Return one child per core, but no more than the container's memory holds beside 256 MiB for the parent."""
    # Not every system can say which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for path in _CGROUP_MEMORY:
        try:
            memory = int(path.read_text())
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
        return max(1, min(cores, (memory - _PARENT_BYTES) // address_space_bytes))
    return cores


def _manner(exitcode: int) -> str:
    return f"signal {-exitcode}" if exitcode < 0 else f"exit code {exitcode}"
