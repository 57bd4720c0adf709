"""Support for the tests of all parts: bounded waits, ports that nobody else takes, a clock, a result."""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from img_contract.job.outcome import ResultFile
from img_contract.ports import LocalFiles

_T = TypeVar("_T")

HANG_SECONDS: Final = 120.0
"""The longest that a test waits for an event: a guard against hanging, not a measure."""

_PORTS: Final = range(10_000, 32_768)
"""Below those that Linux, macOS and Windows give to outgoing connections: none of these takes a port back from a server
that has yet to start."""

_reservations: Final[deque[socket.socket]] = deque(maxlen=256)
"""Of the ports that were given last. Who got an earlier one has opened it long ago."""


def until(what: Callable[[], _T | None], seconds: float = HANG_SECONDS, why: str = "it did not happen in time") -> _T:
    """Call `what` until its result is true, and return that. Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() >= deadline:
            raise AssertionError(why)
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a TCP port of the loopback address that is free, and that no other process on this machine gets from here.

    A UDP socket of the same number, which is nobody's, holds the reservation: the system ends it with the process.
    """
    for _ in _PORTS:
        port = random.choice(_PORTS)  # noqa: S311  no secret
        reservation = socket.socket(type=socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise AssertionError("no port is free")


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
