"""The pool of children: it survives whatever a picture does to one of them."""

from __future__ import annotations

import multiprocessing
import os
import queue
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Final

import structlog
from img_contract.job.outcome import Failure, FailureCode

from img_engine.errors import AttemptSpent, ChildrenBroken, SpentKind
from img_engine.process.child import memory_is_limited, render_within
from img_engine.process.remote import START_SECONDS, Child, ChildDied, Rendering
from img_engine.render.task import Refusal, RenderOutcome, Task

_CGROUP_MEMORY: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)
_PARENT_BYTES: Final = 256 * 1024 * 1024

CHILD_ENVIRONMENT: Final = {
    # Let glibc keep freed memory for the next picture. By default it returns it to the kernel, and a large picture
    # spends up to a third of its time on new pages.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
    # A child has one core; threads of a library for matrices would only take address space.
    "OPENBLAS_NUM_THREADS": "1",
}
"""The environment of the children, beside the engine's own."""

_CPU_SHARE: Final = 0.8
"""A picture that takes this share of its time as CPU time would take it again, and fails at once."""

_LONGEST_FOLDER: Final = 70
"""Of a socket's path, 107 bytes at most, multiprocessing needs the rest."""

_START_CPU_SECONDS: Final = 2
"""More than the CPU time that a child takes to start."""

_DEATHS: Final = 3
"""So many children may die before they begin a picture; then none can."""

log = structlog.get_logger(__name__)


class Children:
    """A number of child processes; making them raises ChildrenBroken if there can be none. Thread-safe."""

    def __init__(self, count: int, address_space_bytes: int, task_seconds: float) -> None:
        self._address_space = address_space_bytes
        self._seconds = task_seconds
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        self._cpu_seconds, self._tasks_each = cpu_budget(task_seconds, None if hard == resource.RLIM_INFINITY else hard)
        # A fork server: children start from a small process that has imported Pillow, and inherit no lock of ours.
        os.environ.update(CHILD_ENVIRONMENT)  # the fork server takes its environment from here
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["img_engine.process.preload"])
        _start_helpers()
        self._stopped = False
        self.count = count
        """How many there are."""
        self._counting = threading.Lock()
        self._busy_seconds = 0.0
        self._idle: queue.LifoQueue[Child | None] = queue.LifoQueue()
        """None stands for one that could not be started, and is to be."""
        for _ in range(count):
            self._idle.put(self._started())

    def wait_ready(self) -> None:
        """Wait until a child has started. Raises ChildrenBroken if none can."""
        try:
            with self._child() as child:
                limited = child.call(memory_is_limited, seconds=START_SECONDS)
        except (ChildDied, TimeoutError) as error:
            raise ChildrenBroken(f"no child can be started within {START_SECONDS:g} seconds: {error!r}") from error
        if not limited:
            log.warning("memory_not_limited", wanted=self._address_space)

    @property
    def busy(self) -> int:
        """How many render now, or are being replaced."""
        return self.count - self._idle.qsize()

    @property
    def busy_seconds(self) -> float:
        """The time that all of them together have rendered."""
        return self._busy_seconds

    def render(self, task: Task, started: Callable[[Rendering], None]) -> RenderOutcome | Refusal:
        """Render in a child and wait for it. `started` is called with what can be cancelled.

        Raises AttemptSpent if the child died or outran its time, CancelledError, ChildrenBroken; and whatever `render`
        raised in the child: OSError for the disk, anything else is a defect.
        """
        rendering = Rendering()
        started(rendering)
        try:
            return self._render(task, rendering)
        finally:
            with self._counting:
                self._busy_seconds += rendering.seconds

    def stop(self) -> None:
        """Kill what still runs. Call it when nothing is rendered any more, or after cancelling it."""
        self._stopped = True
        for _ in range(self.count):
            if child := self._idle.get():
                child.close()

    def _render(self, task: Task, rendering: Rendering) -> RenderOutcome | Refusal:
        for _ in range(_DEATHS):
            with self._child() as child, rendering.by(child):
                try:
                    return child.call(render_within, task, self._cpu_seconds, seconds=self._seconds)
                except TimeoutError as error:
                    if error.errno is not None:  # from the disk, not from the clock
                        raise
                    child.kill()
                    detail = f"the picture took longer than {self._seconds:g} seconds and was stopped"
                    raise AttemptSpent(detail, SpentKind.TIMEOUT) from None
                except ChildDied as death:
                    if rendering.cancelled or self._stopped:
                        raise CancelledError from None
                    if not death.idle:
                        return self._refusal_after(death)
                    log.warning("children_restarted")  # nobody's fault, and the picture's no more than another's
        raise ChildrenBroken("the children die before they begin")

    def _refusal_after(self, death: ChildDied) -> Refusal:
        """Return what it means for a picture that its child died so. Raises AttemptSpent."""
        if death.exitcode == -signal.SIGXCPU:
            detail = (
                f"the picture took more than {self._cpu_seconds} seconds of CPU time; "
                "ask for less effort, a smaller result or another format"
            )
            return Refusal(Failure(code=FailureCode.TOO_SLOW, detail=detail, limit=self._cpu_seconds), None)
        detail = f"the process that rendered it died ({_manner(death.exitcode)})"
        raise AttemptSpent(detail, SpentKind.CHILD_DIED) from None

    @contextmanager
    def _child(self) -> Iterator[Child]:
        """Give the use of a child, once one is free. Raises ChildrenBroken if it cannot be started."""
        child = self._idle.get()
        try:
            child = child or self._started()
            if child is None or self._stopped:
                raise ChildrenBroken("the children are being stopped, or cannot be started")
            yield child
        finally:
            if child and (child.ended or child.calls == self._tasks_each):
                child.close()
                child = self._started()
            self._idle.put(child)

    def _started(self) -> Child | None:
        """Start a child; None if that cannot be done now."""
        try:
            return Child(self._context, self._address_space)
        except (OSError, EOFError) as error:
            log.warning("child_not_started", reason=str(error))
            return None


def _start_helpers() -> None:
    """Start the processes that multiprocessing needs beside the children, with /dev/null for stdout and stderr.

    The fork server's children have the same. Libraries in C write there what they think of a picture; were it the
    engine's stderr, and that a pipe that is full, they would wait for its reader until their time is over. The resource
    tracker would wait there after the engine was killed. Raises ChildrenBroken.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    ours = {number: os.dup(number) for number in (1, 2)}
    for number in ours:
        os.dup2(nowhere, number)
    try:
        resource_tracker.ensure_running()
        forkserver.ensure_running()
    except OSError as error:  # of the socket that it makes, whose path the system limits to some hundred bytes
        raise ChildrenBroken(
            f"no child can be started by a socket in {tempfile.gettempdir()}: {error}; "
            f"expected in TMPDIR a folder that can be written, with a path of at most {_LONGEST_FOLDER} bytes"
        ) from error
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
