"""Notices that jobs have ended: every engine tells every img-rest, by a fan-out exchange. Any of them may be lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from celery import Celery
from img_contract.cluster_config import QueueConfig
from img_contract.job.job import JOB_ID
from kombu import Connection, Consumer, Message, Producer, Queue

from img_cluster.celery_app import Topology
from img_cluster.sending import BROKER_FAULTS

_TURN_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 2.0


class NoticesOut:
    """The telling side; see `deliveries.Notices`."""

    def __init__(self, app: Celery, config: QueueConfig) -> None:
        self._app = app
        self._exchange = Topology(config.name).ended
        self._timeout = config.timeout_seconds
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def ended(self, job_id: str) -> None:
        with self._lock:
            for _ in range(2):  # the first connection may be a dead one
                try:
                    if self._producer is None:
                        connection = self._app.connection_for_write(
                            heartbeat=0, connect_timeout=self._timeout, transport_options={"confirm_publish": False}
                        )
                        self._producer = Producer(connection, exchange=self._exchange, serializer="raw")
                    self._producer.publish(job_id, content_type="text/plain", content_encoding="utf-8")
                except BROKER_FAULTS:
                    self._drop()
                else:
                    return

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._producer is not None:
            with suppress(*BROKER_FAULTS):
                self._producer.connection.close()
            self._producer = None


class NoticesIn:
    """The hearing side: a thread with a queue of its own, which goes when it does."""

    def __init__(self, app: Celery, config: QueueConfig, heard: Callable[[str], None]) -> None:
        self._app = app
        self._exchange = Topology(config.name).ended
        self._timeout = config.timeout_seconds
        self._heard = heard
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with self._app.connection_for_read(connect_timeout=self._timeout) as connection:
                    self._listen(connection)
            except BROKER_FAULTS:  # the slow look at the store goes on
                self._closed.wait(_PAUSE_SECONDS)

    def _listen(self, connection: Connection) -> None:
        queue = Queue("", self._exchange, durable=False, exclusive=True, auto_delete=True)
        with Consumer(connection.default_channel, [queue], callbacks=[self._take], accept=["text/plain"], no_ack=True):
            while not self._closed.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=_TURN_SECONDS)
                connection.heartbeat_check(rate=2)

    def _take(self, body: object, _message: Message) -> None:
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        if JOB_ID.fullmatch(text):
            self._heard(text)
