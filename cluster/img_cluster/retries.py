"""Jobs that are tried again: an engine asks the broker for one when it has nothing else to do."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any, Final

from celery import Celery
from img_contract.cluster_config import QueueConfig
from img_contract.errors import StoreUnavailable
from kombu import Connection, Message

from img_cluster.celery_app import Topology
from img_cluster.deliveries import Delivery, Settle
from img_cluster.sending import BROKER_FAULTS

_LONGEST_SECONDS: Final = 5.0
"""While it waits for an answer, the engine takes no other job."""


class BrokerRetries:
    """See `work.Retries`: one connection, used by one thread at a time. Messages that are not settled come again."""

    def __init__(self, app: Celery, config: QueueConfig) -> None:
        self._app = app
        self._queue = Topology(config.name).again
        self._timeout = min(config.timeout_seconds, _LONGEST_SECONDS)
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def get(self) -> tuple[Delivery, Settle] | None:
        with self._lock:
            try:
                message = self._connected().get(no_ack=False)
            except BROKER_FAULTS as error:
                self._drop()
                raise StoreUnavailable(f"cannot ask for a job to try again: the broker: {error}") from error
        if message is None:
            return None
        (job_id,), _, _ = message.decode()
        delivery = Delivery(str(job_id), message.headers["id"], bool(message.delivery_info["redelivered"]))
        return delivery, partial(self._settle, message)

    def heartbeat(self) -> None:
        """Keep the connection alive; call it at least twice in a heartbeat of the broker's."""
        with self._lock:
            try:
                if self._connection is not None:
                    self._connection.heartbeat_check(rate=2)
            except BROKER_FAULTS:
                self._drop()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def _settle(self, message: Message, done: bool) -> None:  # noqa: FBT001  as in Settle
        with self._lock:
            try:
                if not message.acknowledged:
                    message.ack() if done else message.requeue()
            except BROKER_FAULTS:  # it comes again, and the store knows what became of it
                self._drop()

    def _connected(self) -> Any:
        if self._connection is None:
            # RabbitMQ was seen to answer nothing for a minute, of this queue alone, after it had been killed often.
            self._connection = self._app.connection_for_read(
                connect_timeout=self._timeout,
                transport_options={
                    **self._app.conf.broker_transport_options,
                    "read_timeout": self._timeout,
                    "write_timeout": self._timeout,
                },
            )
            self._connection.connect()
        bound = self._queue.bind(self._connection.default_channel)
        if not self._connection.declared_entities:
            bound.queue_declare()
            self._connection.declared_entities.add(self._queue)
        return bound

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(*BROKER_FAULTS):
                self._connection.close()
            self._connection = None
