"""Celery's worker in this process: it brings messages, and keeps each until the claim that it led to is closed.

The pool has a thread for every attempt that the engine makes at a time. A thread claims the job of its message, hands
the claim over to the engine, and waits for its end: only then is the message acknowledged.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Any, Final

import structlog
from celery import Celery
from celery.exceptions import Reject
from celery.worker import WorkController
from celery.worker import state as celery_state
from celery.worker.consumer import Consumer
from img_contract.cluster_config import QueueConfig
from img_contract.errors import StoreError

from img_cluster.celery_app import TASK
from img_cluster.deliveries import Delivery
from img_cluster.retries import BrokerRetries
from img_cluster.work import ClusterWork

_FAULT_SECONDS: Final = 2.0
_LONGEST_FAULT_SECONDS: Final = 600.0
"""A message waits this long for a store that fails; then it is returned, well before RabbitMQ's consumer_timeout."""
_CANCEL_SECONDS: Final = 5.0

_LEFT_OUT: Final = ("delayed_delivery", "mingle", "gossip")
"""Steps of Celery's consumer: the first declares 28 queues for tasks of the future, of which there are none."""

log = structlog.get_logger(__name__)


class _Consumer(Consumer):
    class Blueprint(Consumer.Blueprint):
        default_steps = [  # noqa: RUF012  as Celery has it
            step for step in Consumer.Blueprint.default_steps if not any(name in step for name in _LEFT_OUT)
        ]


class CeleryWork:
    """See `ports.Work`: the cluster's, with its messages from Celery's worker, which runs from `start` to `close`."""

    def __init__(
        self, app: Celery, config: QueueConfig, work: ClusterWork, retries: BrokerRetries, engine: str, slots: int
    ) -> None:
        self._app = app
        self._config = config
        self._work = work
        self._retries = retries
        self._engine = engine
        self._slots = slots
        self._closing = threading.Event()
        self._worker: Any = None
        self._thread = threading.Thread(target=self._run, name="celery", daemon=True)
        self.next = work.next
        self.maintain = work.maintain
        self.withdraw = work.withdraw
        self.publish_metrics = work.publish_metrics

        @app.task(name=TASK, bind=True, typing=False)  # type: ignore[untyped-decorator]  # Celery has no types
        def attempt(task: Any, job_id: str) -> None:
            self._attempt(task.request, job_id)

    def start(self) -> None:
        """Start to take messages."""
        self._thread.start()

    def announce(self) -> None:
        self._retries.heartbeat()
        self._work.announce()

    def stop_taking(self) -> None:
        self._cancel_consumers()
        self._work.stop_taking()

    def close(self) -> None:
        self.stop_taking()
        self._closing.set()
        celery_state.should_stop = 0  # the exit status of a warm shutdown
        self._thread.join()
        celery_state.should_stop = None
        self._retries.close()
        self._work.close()

    def _attempt(self, request: Any, job_id: str) -> None:
        """Live through one message, in a thread of Celery's pool. Raises Reject if it is to be delivered again."""
        delivery = Delivery(job_id, request.id, bool(request.delivery_info.get("redelivered")))
        self._work.wait_until_free(job_id)
        settled: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(int(_LONGEST_FAULT_SECONDS / _FAULT_SECONDS)):
            try:
                self._work.deliver(delivery, settled.put)
                break
            except StoreError as error:
                log.error("store_fault", id=job_id, reason=str(error))
                if self._closing.wait(_FAULT_SECONDS):
                    settled.put(False)  # noqa: FBT003  its meaning is that of Settle
                    break
        else:
            settled.put(False)  # noqa: FBT003  the same
        if not settled.get():
            raise Reject(requeue=True)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._worker = self._new_worker()
                self._worker.start()
            except Exception:  # a defect, there or here
                log.exception("dispatch_crashed")
            # Celery's worker ends by itself when the broker takes its consumer away for a timeout.
            self._closing.wait(_FAULT_SECONDS)

    def _new_worker(self) -> Any:
        return WorkController(
            app=self._app,
            hostname=f"img@{self._engine}",
            pool="threads",
            concurrency=self._slots,
            consumer_cls=_Consumer,
            queues=[self._config.name, f"{self._config.name}.dead"],
        )

    def _cancel_consumers(self) -> None:
        """Have the broker send nothing more; what it sent goes back, and would come again at once otherwise."""
        consumer = getattr(self._worker, "consumer", None)
        if consumer is None or not self._thread.is_alive():
            return
        done = threading.Event()

        def cancel() -> None:
            with suppress(Exception):  # without a connection there is nothing to cancel
                for name in (self._config.name, f"{self._config.name}.dead"):
                    consumer.cancel_task_queue(name)
            done.set()

        consumer.call_soon(cancel)
        done.wait(_CANCEL_SECONDS)
