"""One child process, as its parent sees it: a pipe to call through, and an end that can come at any moment."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from typing import Any, Final, TypeVar

from img_engine.process.child import serve

Result = TypeVar("Result")

START_SECONDS: Final = 30.0
"""How long a child may take to start on a busy machine."""

_END_SECONDS: Final = 5.0
"""How long one that was killed may take to end."""


class ChildDied(Exception):
    """The child died; `exitcode` is negative if a signal ended it, and `idle` says that it had not begun."""

    def __init__(self, exitcode: int | None, *, idle: bool) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode or 0
        self.idle = idle


class Child:
    """A child process. It is used by one thread at a time; `kill` may be called from any."""

    def __init__(self, context: ForkServerContext, address_space_bytes: int) -> None:
        """Start it. Raises OSError, EOFError if that cannot be done."""
        self.calls = 0
        """Calls that were sent so far."""
        self.ended = False
        """Whether it is known to have ended: it cannot be called any more."""
        self._started = False
        self._pipe, theirs = context.Pipe()
        self._taken: Any = context.RawValue(ctypes.c_ulong)
        self._process = context.Process(target=serve, args=(theirs, self._taken, address_space_bytes), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, function: Callable[..., Result], *arguments: Any, seconds: float) -> Result:
        """Call a function there. Raises what it raises, ChildDied, or TimeoutError without an errno after so long.

        The time that a child takes to start does not count.
        """
        self.calls += 1
        try:
            self._wait_started()
            self._pipe.send((function, arguments))
            if not self._pipe.poll(seconds):
                raise TimeoutError
            returned, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            self.ended = True
            self._process.join(_END_SECONDS)
            raise ChildDied(self._process.exitcode, idle=not self._begun) from None
        if not returned:
            raise value
        result: Result = value
        return result

    def kill(self) -> None:
        """End it at once."""
        self.ended = True
        self._process.kill()

    def close(self) -> None:
        """End it, and let go of what was needed for it."""
        self.kill()
        self._pipe.close()
        self._process.join(_END_SECONDS)
        if self._process.exitcode is not None:  # else a disk that hangs keeps it
            self._process.close()

    def _wait_started(self) -> None:
        """Wait for its word that it takes calls. Raises ChildDied if there is none in time, EOFError."""
        if self._started:
            return
        if not self._pipe.poll(START_SECONDS):
            self.kill()
            raise ChildDied(None, idle=True)
        self._pipe.recv()
        self._started = True

    @property
    def _begun(self) -> bool:
        """Whether it has taken the last call."""
        return bool(self._taken.value == self.calls)


class Rendering:
    """A task that waits for a child or is under way in one. It can be cancelled, from any thread."""

    def __init__(self) -> None:
        self.cancelled = False
        self.seconds = 0.0
        """How long children have worked at it."""
        self._lock = threading.Lock()
        self._child: Child | None = None

    def cancel(self) -> None:
        """End its child, now or as soon as it has one."""
        with self._lock:
            self.cancelled = True
            if self._child:
                self._child.kill()

    @contextmanager
    def by(self, child: Child) -> Iterator[None]:
        """Let a child work at it. Raises CancelledError if it was cancelled."""
        with self._lock:
            if self.cancelled:
                raise CancelledError
            self._child = child
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began
            with self._lock:
                self._child = None
