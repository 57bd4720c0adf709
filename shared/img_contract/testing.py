"""Support for the tests of all parts: bounded waits, ports that nobody else takes, a clock, a result."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import time
from collections.abc import Callable
from typing import Final, TypeVar

from img_contract.job.outcome import ResultFile
from img_contract.ports import LocalFiles

_T = TypeVar("_T")

HANG_SECONDS: Final = 120.0
"""The longest that a test waits for an event: a guard against hanging, not a measure."""

_FIRST_PORT: Final = 20_000
_PORTS_OF_A_WORKER: Final = 1_000
"""Twelve workers end below 32768, where Linux begins to give ports to outgoing connections."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_next_port = random.randrange(_PORTS_OF_A_WORKER)  # noqa: S311  two runs on one machine seldom meet


def until(what: Callable[[], _T | None], seconds: float = HANG_SECONDS, why: str = "it did not happen in time") -> _T:
    """Call `what` until its result is true, and return that. Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() >= deadline:
            raise AssertionError(why)
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a TCP port of the loopback address that is free, from a range that belongs to this pytest-xdist worker."""
    global _next_port  # noqa: PLW0603  the ports that this process has given
    for _ in range(_PORTS_OF_A_WORKER):
        port = _FIRST_PORT + _worker % 12 * _PORTS_OF_A_WORKER + _next_port
        _next_port = (_next_port + 1) % _PORTS_OF_A_WORKER
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port of this worker's range is free")


class ManualClock:
    """A clock that only a test moves; for what takes `clock: Callable[[], float]`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.seconds += seconds


def write_result(files: LocalFiles, content: bytes = b"pixels", name: str = "image.jpg") -> ResultFile:
    """Write some bytes where an attempt's first result goes, and describe them as a JPEG of 8 × 6."""
    path = files.target.with_name(f"{files.target.name}0")
    path.write_bytes(content)
    return ResultFile(path, name, "image/jpeg", 8, 6, 1, len(content), hashlib.sha256(content).hexdigest())
