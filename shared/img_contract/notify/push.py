"""The sending side of the notifications over ZeroMQ: PUSH, bound once by img-rest."""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog
import zmq
from zmq.auth.thread import ThreadAuthenticator

from img_contract.job.job import Job
from img_contract.notify.curve import CurveConfig
from img_contract.notify.options import MESSAGE_BYTES, bind, limit_peers
from img_contract.notify.zap import require_client_key, start_authenticator

_REBIND_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class ZmqNotifier:
    """See `Notifier`. While the address is taken, notifications are lost and binding is tried again.

    Strangers who connect cost little: a connection holds one message at most, in each direction. With `keys` only
    engines that have the client's secret key may connect.
    """

    def __init__(self, address: str, keys: CurveConfig | None = None, message_bytes: int = MESSAGE_BYTES) -> None:
        self._address = address
        self._message_bytes = message_bytes
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._socket = self._context.socket(zmq.PUSH)
        limit_peers(self._socket, message_bytes)
        # One message a connection, the newest; also of what a peer sends, which PUSH never reads: high-water marks
        # count whole messages, and one whose parts never end would fill the memory. Of two notifications within
        # microseconds one may be lost.
        self._socket.setsockopt(zmq.CONFLATE, 1)
        if keys:
            self._authenticator = start_authenticator(self._context, keys)
            require_client_key(self._socket, keys)
        self._lock = threading.Lock()
        self._bound = False
        self._tried_at = float("-inf")
        with self._lock:
            self._bind()

    def notify(self, job: Job) -> bool:
        message = job.message()
        if len(message) > self._message_bytes:
            return False  # an engine would close the connection
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
            if self._authenticator:
                self._authenticator.stop()
            self._context.term()

    def _bind(self) -> bool:
        if time.monotonic() - self._tried_at < _REBIND_SECONDS:
            return False
        self._tried_at = time.monotonic()
        try:
            bind(self._socket, self._address)
        except zmq.ZMQError as error:
            log.warning("notifier_not_bound", address=self._address, reason=str(error))
            return False
        self._bound = True
        return True
