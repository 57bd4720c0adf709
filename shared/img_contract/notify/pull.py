"""The receiving side of the notifications over ZeroMQ: PULL, connected by each engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
import zmq
from pydantic import ValidationError
from zmq.utils.monitor import recv_monitor_message

from img_contract.job.job import Job, parse_message
from img_contract.job.newer import is_newer
from img_contract.notify.curve import CurveConfig
from img_contract.notify.options import MESSAGE_BYTES, limit_peers, over_ipv6

_RECONNECT_SECONDS: Final = 3.0
"""Reconnecting is left to ZeroMQ for this long."""

_LOOK_SECONDS: Final = 0.25
"""What happened to the connection is asked for this often."""

_INVALID_LOG_SECONDS: Final = 10.0
"""A flood of invalid messages is logged this often."""

log = structlog.get_logger(__name__)


class ZmqListener:
    """See `Listener`. It reconnects when img-rest comes back, or whatever was there in its place has gone.

    With `keys` it accepts messages only from the server that has the secret key of `server_public`.
    """

    def __init__(self, address: str, keys: CurveConfig | None = None, message_bytes: int = MESSAGE_BYTES) -> None:
        self._address = address
        self._keys = keys
        self._message_bytes = message_bytes
        self._invalid = _InvalidMessages()
        self._context = zmq.Context()
        self._attempts = 0
        self._connect()

    @property
    def dropped(self) -> int:
        """Number of invalid messages so far."""
        return self._invalid.dropped

    def wait(self, seconds: float) -> Job | None:
        deadline = time.monotonic() + seconds
        self._reconnect_if_stuck(deadline - seconds)
        while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            message = None
            try:
                message = self._whole_message()
                if message is not None:
                    return parse_message(message)
                self._invalid.drop()
            except ValidationError:
                if not is_newer(message or b""):  # its job is found by polling, and logged
                    self._invalid.drop()
            except zmq.Again:
                pass  # it was ready, and then it was not
            if time.monotonic() >= deadline:
                break  # a flood holds up nobody
        self._invalid.report()
        return None

    def close(self) -> None:
        self._disconnect()
        self._context.term()

    def _connect(self) -> None:
        self._socket = self._context.socket(zmq.PULL)
        limit_peers(self._socket, self._message_bytes)
        self._socket.setsockopt(zmq.IPV6, over_ipv6(self._address, self._attempts))
        self._attempts += 1
        self._socket.setsockopt(zmq.RCVHWM, 1)  # a message that one engine has received no other hears of
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if self._keys:
            self._socket.curve_serverkey = self._keys.server_public.encode()
            self._socket.curve_publickey = self._keys.client_public.encode()
            self._socket.curve_secretkey = self._keys.client_secret.get_secret_value().encode()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._down_since: float | None = time.monotonic()
        self._look_again_at = float("-inf")
        self._socket.connect(self._address)

    def _disconnect(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()

    def _reconnect_if_stuck(self, now: float) -> None:
        """Begin with a new socket if the connection has been down for a while. Looks a few times a second at most.

        libzmq reconnects to a peer that went away, but never to one that broke the protocol: by too large a message, or
        by not speaking ZeroMQ at all. Measured with 4.3.5: the socket never receives again, and of the latter it
        reports no event.
        """
        if now < self._look_again_at:
            return
        self._look_again_at = now + _LOOK_SECONDS
        while self._monitor.poll(0):
            up = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._down_since = None if up else now
        if self._down_since is not None and now - self._down_since >= _RECONNECT_SECONDS:
            self._disconnect()
            self._connect()

    def _whole_message(self) -> bytes | None:
        """Return the next message; None for one of several parts, which is invalid and dropped part by part."""
        message: bytes | None = self._socket.recv(zmq.NOBLOCK)
        while self._socket.getsockopt(zmq.RCVMORE):
            self._socket.recv(zmq.NOBLOCK)
            message = None
        return message


class _InvalidMessages:
    """Counts what was dropped, and logs it at once and then every ten seconds: a flood must not fill the disk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._clock = clock
        self._reported = 0
        self._reported_at = float("-inf")

    def drop(self) -> None:
        """Count one message."""
        self.dropped += 1
        self.report()

    def report(self) -> None:
        """Log what was dropped since the last report, if it is time."""
        if self.dropped > self._reported and self._clock() - self._reported_at >= _INVALID_LOG_SECONDS:
            log.warning("invalid_messages_dropped", messages=self.dropped - self._reported, since_start=self.dropped)
            self._reported, self._reported_at = self.dropped, self._clock()
