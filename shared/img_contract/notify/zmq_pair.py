"""Notifications of new jobs: img-rest sends one for each job, engines wait for them. They only make things fast.

A notification may be lost without harm: polling is the real delivery. So it never blocks, never fails, and is never
relied on. `MemoryNotifier` serves the tests and whoever runs both in one process.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import zmq
from pydantic import ValidationError
from zmq.utils.monitor import recv_monitor_message

from img_contract.job.job import Job
from img_contract.notify.curve import CurveConfig

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

MESSAGE_BYTES: Final = 64 * 1024
"""A job message is under 2 KiB; ZeroMQ cuts off a peer that sends more than this in one."""

_REBIND_SECONDS: Final = 1.0

_HANDSHAKE_MILLISECONDS: Final = 5000
"""Who has connected and does not speak ZeroMQ by then is cut off."""

_MEND_SECONDS: Final = 3.0
"""How long an engine leaves it to ZeroMQ to get back on the line."""

_INVALID_LOG_SECONDS: Final = 10.0
"""How often a flood of junk is told of."""

log = structlog.get_logger(__name__)


class Notifier(Protocol):
    """The side that announces jobs."""

    def notify(self, job: Job) -> bool:
        """Announce a job without ever blocking; False if nobody could be told. Thread-safe."""

    def close(self) -> None:
        """Let go of the line."""


class Listener(Protocol):
    """The side that hears of jobs."""

    def wait(self, seconds: float) -> Job | None:
        """The next job announced, or None after so many seconds. What is no job is dropped and does not end it."""

    def close(self) -> None:
        """Let go of the line."""


class MemoryNotifier:
    """Both sides in one process."""

    def __init__(self, capacity: int = 1000) -> None:
        self._jobs: queue.Queue[Job] = queue.Queue(capacity)

    def notify(self, job: Job) -> bool:
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


class ZmqNotifier:
    """PUSH, bound once by img-rest. While the address is taken, notifications are lost and binding is tried again.

    Strangers who connect cost little: a line holds one message at most, whichever way it goes. With `keys` only
    engines that have the client's secret key are let in.
    """

    def __init__(self, address: str, keys: CurveConfig | None = None, message_bytes: int = MESSAGE_BYTES) -> None:
        self._address = address
        self._message_bytes = message_bytes
        self._context = zmq.Context()
        self._gate: ThreadAuthenticator | None = None
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        # One message a line, the newest; also of what a peer sends, which PUSH never reads: high-water marks count
        # whole messages, and one whose parts never end would fill the memory. Of two notifications
        # within microseconds one may be lost.
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, message_bytes)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MILLISECONDS)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        if keys:
            from img_contract.notify.zap import guard, open_gate  # noqa: PLC0415  it brings asyncio, for which engines need not wait

            self._gate = open_gate(self._context, keys)
            guard(self._socket, keys)
        self._lock = threading.Lock()
        self._bound = False
        self._tried_at = float("-inf")
        with self._lock:
            self._bind()

    def notify(self, job: Job) -> bool:
        message = job.message()
        if len(message) > self._message_bytes:
            return False  # an engine would cut the line
        with self._lock:
            if not self._bound and not self._bind():
                return False
            try:
                self._socket.send(message, zmq.NOBLOCK)
            except zmq.ZMQError:  # zmq.Again: no engine is connected
                return False
            return True

    def close(self) -> None:
        with self._lock:
            self._socket.close()
            if self._gate:
                self._gate.stop()
            self._context.term()

    def _bind(self) -> bool:
        if time.monotonic() - self._tried_at < _REBIND_SECONDS:
            return False
        self._tried_at = time.monotonic()
        try:
            self._socket.bind(self._address)
        except zmq.ZMQError as error:
            log.warning("notifier_not_bound", address=self._address, reason=str(error))
            return False
        self._bound = True
        return True


class ZmqListener:
    """PULL, connected by each engine. It finds its way back when img-rest does, or whoever was there in its place.

    With `keys` it listens to nobody but the server that has the secret key of `server_public`.
    """

    def __init__(self, address: str, keys: CurveConfig | None = None, message_bytes: int = MESSAGE_BYTES) -> None:
        self._address = address
        self._keys = keys
        self._message_bytes = message_bytes
        self._invalid = _InvalidMessages()
        self._context = zmq.Context()
        self._connect()

    def _connect(self) -> None:
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 1)  # what one engine has taken off the line no other hears of
        self._socket.setsockopt(zmq.MAXMSGSIZE, self._message_bytes)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MILLISECONDS)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        if self._keys:
            self._socket.curve_serverkey = self._keys.server_public.encode()
            self._socket.curve_publickey = self._keys.client_public.encode()
            self._socket.curve_secretkey = self._keys.client_secret.get_secret_value().encode()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._off_since: float | None = time.monotonic()
        self._socket.connect(self._address)

    def _disconnect(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()

    def _mend(self) -> None:
        """Begin anew if the line has been down for a while.

        libzmq comes back to a peer that went, but never to one that broke the protocol: by too large a message, or
        by not speaking ZeroMQ at all. Measured with 4.3.5: the socket stays deaf, and of the latter tells no event.
        """
        while self._monitor.poll(0):
            up = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._off_since = None if up else time.monotonic()
        if self._off_since is not None and time.monotonic() - self._off_since >= _MEND_SECONDS:
            self._disconnect()
            self._connect()

    @property
    def dropped(self) -> int:
        """How many messages were no jobs."""
        return self._invalid.dropped

    def wait(self, seconds: float) -> Job | None:
        self._mend()
        deadline = time.monotonic() + seconds
        while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            try:
                message = self._whole_message()
                if message is not None:
                    return Job.model_validate_json(message)
                self._invalid.drop()
            except ValidationError:
                self._invalid.drop()
            except zmq.Again:
                pass  # it was ready, and then it was not
            if time.monotonic() >= deadline:
                break  # a flood keeps nobody here, either
        self._invalid.tell()
        return None

    def close(self) -> None:
        self._disconnect()
        self._context.term()

    def _whole_message(self) -> bytes | None:
        """The next message; None for one of several parts, which is none of ours and is dropped part by part."""
        message: bytes | None = self._socket.recv(zmq.NOBLOCK)
        while self._socket.getsockopt(zmq.RCVMORE):
            self._socket.recv(zmq.NOBLOCK)
            message = None
        return message


class _InvalidMessages:
    """Counts what was dropped, and tells of it at once and then every ten seconds: a flood must not fill the disk."""

    def __init__(self) -> None:
        self.dropped = 0
        self._told = 0
        self._told_at = float("-inf")

    def drop(self) -> None:
        self.dropped += 1
        self.tell()

    def tell(self) -> None:
        if self.dropped > self._told and time.monotonic() - self._told_at >= _INVALID_LOG_SECONDS:
            log.warning("invalid_messages_dropped", messages=self.dropped - self._told, since_start=self.dropped)
            self._told, self._told_at = self.dropped, time.monotonic()
