"""When to try again, from how fast the queue drains."""

from __future__ import annotations

import pytest
from img_contract.config import LimitsConfig
from img_contract.ports import Capacity
from img_rest.admission.backlog import Backlog
from img_rest.errors import QueueFull, VolumeFull


class Queue:
    """A store that is only asked how long its queue is, and a clock."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.now = 0.0
        self.asked = 0

    def capacity(self) -> Capacity:
        self.asked += 1
        return Capacity(10**12, self.waiting)


def refused(backlog: Backlog) -> QueueFull:
    with pytest.raises(QueueFull) as raised:
        backlog.check()
    return raised.value


@pytest.fixture
def queue() -> Queue:
    return Queue(100)


@pytest.fixture
def backlog(queue: Queue) -> Backlog:
    return Backlog(queue, LimitsConfig(queue=100), clock=lambda: queue.now)  # type: ignore[arg-type]


def test_retry_after_follows_the_measured_rate(queue: Queue, backlog: Backlog) -> None:
    refused(backlog)
    for _ in range(10):  # ten seconds at five jobs a second, while as many come in
        queue.now += 1.0
        queue.waiting -= 5
        for _ in range(5):
            backlog.check()
            backlog.add_one()
        queue.waiting += 5
    queue.waiting = 149  # other APIs' jobs: fifty too many
    queue.now += 1.0
    found = refused(backlog)
    assert (found.limit, found.actual) == (100, 149)
    assert 8 <= found.retry_seconds <= 14


def test_a_queue_that_does_not_drain_has_a_retry_time_too(queue: Queue, backlog: Backlog) -> None:
    for _ in range(100):
        queue.now += 1.0
        assert refused(backlog).retry_seconds == 30


def test_an_old_rate_is_forgotten(queue: Queue, backlog: Backlog) -> None:
    refused(backlog)
    queue.now, queue.waiting = 1.0, 50
    backlog.check()
    queue.now, queue.waiting = 2.0, 100
    assert refused(backlog).retry_seconds == 1
    queue.now = 200.0
    assert refused(backlog).retry_seconds == 30


def test_jobs_accepted_since_the_store_was_asked_count(queue: Queue, backlog: Backlog) -> None:
    queue.waiting = 98
    for _ in range(2):
        backlog.check()
        backlog.add_one()
        queue.waiting += 1
    assert refused(backlog).actual == 100


def test_the_store_is_not_asked_for_every_upload(queue: Queue, backlog: Backlog) -> None:
    queue.waiting = 0
    for _ in range(1000):
        backlog.check()
        queue.now += 0.001
    assert queue.asked <= 5


def test_too_little_space_is_reported_with_both_numbers(queue: Queue) -> None:
    backlog = Backlog(queue, LimitsConfig(free_bytes=10**13))  # type: ignore[arg-type]
    queue.waiting = 0
    with pytest.raises(VolumeFull) as raised:
        backlog.check()
    assert (raised.value.limit, raised.value.actual) == (10**13, 10**12)
