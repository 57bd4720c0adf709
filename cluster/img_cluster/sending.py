"""Sending jobs to the broker: a message counts as sent when a quorum of its nodes has it in a queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from img_contract.cluster_config import QueueConfig
from img_contract.errors import StoreUnavailable
from kombu import Queue
from kombu.exceptions import KombuError

from img_cluster.celery_app import TASK, Topology

BROKER_FAULTS: Final = (OSError, AMQPError, KombuError)
"""What a broker that is gone, slow or refuses lets out of the libraries."""

_CONNECTIONS: Final = 16
"""Messages that are being sent at the same time; a further one waits some milliseconds."""

_T = TypeVar("_T")


class _Sender:
    """One connection, used by one thread at a time."""

    def __init__(self, app: Celery, topology: Topology, timeout_seconds: float) -> None:
        self._app = app
        self._topology = topology
        self._timeout = timeout_seconds
        self._returned = False
        # Without heartbeats: nobody would send them while it lies idle, and a dead one is found at the next use.
        self._connection = app.connection_for_write(
            heartbeat=0,
            connect_timeout=timeout_seconds,
            transport_options={
                **app.conf.broker_transport_options,
                "read_timeout": timeout_seconds,
                "write_timeout": timeout_seconds,
            },
        )
        try:
            self._connection.connect()
            self._producer = app.amqp.Producer(self._connection, on_return=self._note_return)
            self._declare()
        except BaseException:
            self.close()
            raise

    def send(self, to: Queue, job_id: str) -> None:
        self._publish(to, job_id)
        if self._returned:  # somebody deleted the queue; an unroutable message is confirmed, and gone
            self._declare()
            self._publish(to, job_id)
        if self._returned:
            raise StoreUnavailable(f"cannot have a job delivered: the broker has no queue {to.name}")

    def waiting(self) -> int:
        """Declaring a queue, again or anew, tells how many messages are ready in it."""
        channel = self._producer.channel
        return sum(queue.bind(channel).queue_declare().message_count for queue in self._topology.queues)

    def close(self) -> None:
        with suppress(*BROKER_FAULTS):
            self._connection.close()

    def _publish(self, to: Queue, job_id: str) -> None:
        self._returned = False
        self._app.send_task(
            TASK,
            args=(job_id,),
            producer=self._producer,
            exchange="",
            routing_key=to.name,
            mandatory=True,
            retry=False,
            ignore_result=True,
            confirm_timeout=self._timeout,
        )

    def _note_return(self, *_: Any) -> None:
        self._returned = True

    def _declare(self) -> None:
        channel = self._producer.channel
        for one in self._topology.queues:
            one.bind(channel).queue_declare()


class CeleryDeliveries:
    """See `deliveries.Deliveries`."""

    def __init__(self, app: Celery, config: QueueConfig) -> None:
        self._app = app
        self._topology = Topology(config.name)
        self._timeout = config.timeout_seconds
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._idle: queue.LifoQueue[_Sender] = queue.LifoQueue()

    def send(self, job_id: str) -> None:
        with _faults("have a job delivered"):
            self._use(lambda sender: sender.send(self._topology.jobs, job_id))

    def send_again(self, job_id: str) -> None:
        with _faults("have a job delivered"):
            self._use(lambda sender: sender.send(self._topology.again, job_id))

    def waiting(self) -> int:
        with _faults("count the jobs that wait"):
            return self._use(_Sender.waiting)

    def close(self) -> None:
        """Close all connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _use(self, act: Callable[[_Sender], _T]) -> _T:
        """Act on a connection; on a fresh one if an idle one turns out to be dead. Twice does no harm."""
        with self._places:
            try:
                sender = self._idle.get_nowait()
            except queue.Empty:
                pass
            else:
                try:
                    return self._used(sender, act)
                except MessageNacked:
                    raise
                except BROKER_FAULTS:
                    self.close()  # the others are of the same age
            return self._used(_Sender(self._app, self._topology, self._timeout), act)

    def _used(self, sender: _Sender, act: Callable[[_Sender], _T]) -> _T:
        try:
            result = act(sender)
        except BaseException:
            sender.close()
            raise
        self._idle.put(sender)
        return result


@contextmanager
def _faults(step: str) -> Iterator[None]:
    try:
        yield
    except MessageNacked:
        raise StoreUnavailable(f"cannot {step}: the broker's queue is full; try again later") from None
    except BROKER_FAULTS as error:
        reason = str(error) or type(error).__name__
        raise StoreUnavailable(f"cannot {step}: the broker: {reason}") from error
