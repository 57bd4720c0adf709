"""The doorbell: img-rest rings it for each job, an engine waits at it. It only makes things fast.

A ring is a hint and may be lost without harm: the sweep of `JobStore.pending` is the real delivery. So a ring never
blocks, never fails, and is never relied on. `MemoryDoorbell` serves the tests and whoever runs both in one process.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Final, Protocol

import structlog
import zmq
from pydantic import ValidationError

from .job import Job

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""A job message is under 2 KiB; a peer that sends more than this is disconnected by ZeroMQ."""

_REBIND_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Ringer(Protocol):
    """The side that announces jobs."""

    def ring(self, job: Job) -> bool:
        """Announce a job without ever blocking; False if nobody could be told. Thread-safe."""

    def close(self) -> None:
        """Let go of the line."""


class Listener(Protocol):
    """The side that hears of jobs."""

    def wait(self, seconds: float) -> Job | None:
        """The next job announced, or None after so many seconds, or at once for a message that is no job."""

    def close(self) -> None:
        """Let go of the line."""


class MemoryDoorbell:
    """Both sides in one process."""

    def __init__(self, capacity: int = 1000) -> None:
        self._jobs: queue.Queue[Job] = queue.Queue(capacity)

    def ring(self, job: Job) -> bool:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def wait(self, seconds: float) -> Job | None:
        try:
            return self._jobs.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        return None


class ZmqRinger:
    """PUSH, bound once by img-rest. While the address is taken, rings are lost and binding is tried again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 1000)
        self._lock = threading.Lock()
        self._bound = False
        self._tried_at = float("-inf")
        with self._lock:
            self._bind()

    def ring(self, job: Job) -> bool:
        message = job.message()
        with self._lock:
            if not self._bound and not self._bind():
                return False
            try:
                self._socket.send(message, zmq.NOBLOCK)
            except zmq.ZMQError:  # zmq.Again: no engine is connected, or all their queues are full
                return False
            return True

    def close(self) -> None:
        with self._lock:
            self._socket.close()
            self._context.term()

    def _bind(self) -> bool:
        if time.monotonic() - self._tried_at < _REBIND_SECONDS:
            return False
        self._tried_at = time.monotonic()
        try:
            self._socket.bind(self._address)
        except zmq.ZMQError as error:
            log.warning("doorbell_not_bound", address=self._address, reason=str(error))
            return False
        self._bound = True
        return True


class ZmqListener:
    """PULL, connected by each engine. ZeroMQ reconnects by itself when img-rest comes back."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 1)  # what one engine has taken off the line no other hears of
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.connect(address)

    def wait(self, seconds: float) -> Job | None:
        if not self._socket.poll(max(0, int(seconds * 1000))):
            return None
        try:
            # Only the first frame is read as a job; a message of several parts is none of ours.
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            return Job.model_validate_json(frames[0]) if len(frames) == 1 else None
        except ValidationError as error:
            log.warning("doorbell_junk_dropped", faults=error.error_count())
            return None
        except zmq.Again:
            return None

    def close(self) -> None:
        self._socket.close()
        self._context.term()
