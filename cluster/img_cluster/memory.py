"""A store and a broker in the memory of one process, for tests: only a clock that stands still is needed."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from obstore.store import MemoryStore

from img_cluster.bucket import PAGE, Bucket, Entry
from img_cluster.claims import ClusterClaim
from img_cluster.deliveries import Delivery, Settle
from img_cluster.objects import JobsStore
from img_cluster.work import ClusterWork


class MemoryBucket(Bucket):
    """Objects in memory, with the times of a clock of the test's own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(MemoryStore(), "memory")
        self._clock = clock
        self._modified: dict[str, float] = {}

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        self._modified.setdefault(key, self._clock())
        return created

    def put(self, key: str, data: bytes | IO[bytes] | Path) -> None:
        super().put(key, data)
        self._modified[key] = self._clock()

    def names(self, folder: str, most: int = PAGE, after: str | None = None) -> dict[str, Entry]:
        return {
            name: replace(entry, modified=self._modified[f"{folder}/{name}"])
            for name, entry in super().names(folder, most, after).items()
        }

    def now(self) -> float:
        return self._clock()

    def age(self, key: str, seconds: float) -> None:
        """Let it look as if it had been written so many seconds earlier."""
        self._modified[key] -= seconds


@dataclass(eq=False)
class _Message:
    delivery: Delivery
    again: bool
    consumer: object = None
    """Who has it; None while it waits."""
    since: float = 0.0


class MemoryBroker:
    """Messages in memory: not acknowledged within a lease, they are delivered again."""

    def __init__(self, clock: Callable[[], float], lease_seconds: float) -> None:
        self._clock = clock
        self._lease = lease_seconds
        self._lock = threading.RLock()
        self._messages: deque[_Message] = deque()
        self._numbers = itertools.count(1)

    def send(self, job_id: str) -> None:
        self._add(job_id, again=False)

    def send_again(self, job_id: str) -> None:
        self._add(job_id, again=True)

    def waiting(self) -> int:
        with self._lock:
            return sum(message.consumer is None for message in self._messages)

    def purge(self) -> None:
        """Lose all that waits."""
        with self._lock:
            self._messages = deque(message for message in self._messages if message.consumer is not None)

    def get(self, consumer: object, wanted: Callable[[str], bool], *, again: bool) -> tuple[Delivery, Settle] | None:
        """Give the oldest message to a consumer, unless it has refused that job."""
        with self._lock:
            self._end_leases()
            for message in self._messages:
                if message.consumer is None and message.again is again and wanted(message.delivery.job_id):
                    message.consumer, message.since = consumer, self._clock()
                    return message.delivery, partial(self._settle, message, consumer)
        return None

    def heard_of(self, consumer: object, delivery: Delivery) -> None:
        """Extend the lease of one message, if the consumer still has it."""
        with self._lock:
            self._end_leases()
            for message in self._messages:
                if message.consumer is consumer and message.delivery.message == delivery.message:
                    message.since = self._clock()

    def _add(self, job_id: str, *, again: bool) -> None:
        with self._lock:
            self._messages.append(_Message(Delivery(job_id, str(next(self._numbers)), redelivered=False), again))

    def _end_leases(self) -> None:
        for message in self._messages:
            if message.consumer is not None and self._clock() - message.since >= self._lease:
                self._return(message)

    def _return(self, message: _Message) -> None:
        message.consumer, message.delivery = None, replace(message.delivery, redelivered=True)

    def _settle(self, message: _Message, consumer: object, done: bool) -> None:  # noqa: FBT001  as in Settle
        with self._lock:
            if message.consumer is not consumer:
                return  # it was given to another meanwhile, or is settled
            if done:
                self._messages.remove(message)
                message.consumer = object()
            else:
                self._return(message)


class NoNotices:
    """See `deliveries.Notices`: hints may be lost, and here all are."""

    def ended(self, job_id: str) -> None:
        """Lose it."""


class _Consumer:
    """One engine's connection to a broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.wanted: Callable[[str], bool] = lambda _: True

    def get(self) -> tuple[Delivery, Settle] | None:
        return self.broker.get(self, self.wanted, again=True)

    def get_new(self) -> tuple[Delivery, Settle] | None:
        return self.broker.get(self, self.wanted, again=False)

    def heartbeat(self, delivery: Delivery) -> None:
        self.broker.heard_of(self, delivery)


class MemoryWork(ClusterWork):
    """An engine's side that fetches its messages itself."""

    def __init__(
        self,
        store: JobsStore,
        broker: MemoryBroker,
        engine: str,
        clock: Callable[[], float],
        attempts: int = 3,
        version: str | None = None,
    ) -> None:
        self._consumer = _Consumer(broker)
        super().__init__(
            store,
            broker,
            NoNotices(),
            self._consumer,
            engine,
            attempts=attempts,
            version=version,
            clock=clock,
            on_heartbeat=self._consumer.heartbeat,
        )
        self._consumer.wanted = lambda job_id: not self.holds(job_id)

    def next(self, seconds: float) -> ClusterClaim | None:
        self.broker_delivers()
        return super().next(seconds)

    def broker_delivers(self) -> None:
        """Deliver messages until one leads to a claim, as many as there are slots that wait for one."""
        while not self._stopping.is_set() and self._claimed.empty() and (found := self._consumer.get_new()):
            self.deliver(*found)
