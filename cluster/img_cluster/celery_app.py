"""Celery's application and the queues of RabbitMQ, the same for both services.

    <name>            quorum queue of jobs; a message that a consumer returned a hundred times goes to
    <name>.dead       dead letters: consumed by engines like the others, since the store decides what becomes of a job
    <name>.again      jobs that cost an attempt; engines ask for them when they have nothing else to do
    <name>.ended      exchange: every img-rest hears of jobs that have ended

A cap is set by a policy (`max-length` for the pattern of <name>), as arguments of a queue cannot be changed: then the
broker refuses what is too much, for all replicas of img-rest at once.
"""

from __future__ import annotations

import logging
from typing import Final

from celery import Celery
from img_contract.cluster_config import QueueConfig
from img_contract.logs import LoggedMessages
from kombu import Exchange, Queue

TASK: Final = "img.attempt"

_DELIVERY_LIMIT: Final = 100
"""A backstop: attempts are counted in the store."""
_NO_LIMIT: Final = 1_000_000_000

_LIBRARIES: Final = ("celery", "kombu", "amqp")


class Topology:
    """The queues and exchanges, by the name of the queue of jobs."""

    def __init__(self, name: str) -> None:
        dead = f"{name}.dead"
        to_dead: dict[str, str | int] = {
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
            "x-dead-letter-strategy": "at-least-once",
        }
        self.jobs = _quorum_queue(name, to_dead)
        self.again = _quorum_queue(f"{name}.again", to_dead)
        self.dead = _quorum_queue(dead, {"x-delivery-limit": _NO_LIMIT})
        self.ended = Exchange(f"{name}.ended", "fanout", durable=True, delivery_mode="transient")

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Every queue that lasts."""
        return self.dead, self.jobs, self.again


def make_app(config: QueueConfig) -> Celery:
    """Return Celery's application for this broker. Nothing is sent yet."""
    topology = Topology(config.name)
    app = Celery("img", broker=config.broker.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_queues=(topology.jobs, topology.dead),
        task_default_queue=config.name,
        task_default_exchange="",
        task_default_routing_key=config.name,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the first outcome counts, and there may be none
        worker_send_task_events=True,
        task_send_sent_event=False,
        broker_heartbeat=config.heartbeat_seconds,
        broker_connection_timeout=config.timeout_seconds,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"confirm_publish": True},
        enable_utc=True,
    )
    return app


def log_libraries() -> None:
    """Let what Celery and its libraries warn of go the way of our logs."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [LoggedMessages()]
    logging.getLogger("celery.app.trace").setLevel(logging.ERROR)  # it warns of messages that are returned in order


def _quorum_queue(name: str, arguments: dict[str, str | int]) -> Queue:
    return Queue(
        name,
        Exchange(""),
        routing_key=name,
        durable=True,
        queue_arguments={"x-queue-type": "quorum", "x-overflow": "reject-publish", **arguments},
    )
