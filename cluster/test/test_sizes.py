"""What the cluster asks of the store does not grow with the jobs that wait and the objects that are there.

Requests and listed names are counted, not seconds. `FAULTS=full`: 100,000 jobs that wait, and a million objects.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import obstore
import pytest
from img_cluster.bucket import PAGE, Entry
from img_cluster.cleanup import LEFTOVER_SECONDS, Cleanup
from img_cluster.jobs import ClusterJobs
from img_cluster.memory import MemoryBroker, MemoryBucket, MemoryWork, NoNotices
from img_cluster.objects import JobsStore, marker
from img_cluster.reconciliation import BATCH
from img_contract.job.job import Job, new_job_id
from img_contract.job.resize import Resize
from img_contract.ports import IdempotencyKey
from img_contract.testing import ManualClock
from img_testing.cluster import Figure
from img_testing.witness import FULL

pytestmark = pytest.mark.python_independent

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
SMALL = 20, 200
LARGE = (100_000, 1_000_000) if FULL else (2_500, 25_000)
"""How many jobs wait, and how many objects there are in all."""
RETENTION = 24 * 3600.0


class CountingBucket(MemoryBucket):
    """Counts what would be requests to a store, and the names that it lists. Thread-safe."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.asked: Counter[str] = Counter()
        self._counting = threading.Lock()

    def fill(self, key: str, data: bytes) -> None:
        """Have an object there, which nobody has asked for."""
        obstore.put(self._store, key, data)
        self._modified[key] = self._clock()

    def create(self, key: str, data: bytes) -> bool:
        self._count("writes")
        return super().create(key, data)

    def put(self, key: str, data: bytes | IO[bytes] | Path) -> None:
        self._count("writes")
        super().put(key, data)

    def read(self, key: str) -> bytes | None:
        self._count("reads")
        return super().read(key)

    def exists(self, key: str) -> bool:
        self._count("reads")
        return super().exists(key)

    def names(self, folder: str, most: int = PAGE, after: str | None = None) -> dict[str, Entry]:
        found = super().names(folder, most, after)
        self._count("listings", max(1, -(-len(found) // PAGE)))
        self._count("names", len(found))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        listed = list(keys)
        self._count("deletions", len(listed) and 1)
        super().delete(listed)

    def _count(self, what: str, many: int = 1) -> None:
        with self._counting:
            self.asked[what] += many


class Site:
    """A store with so many jobs that wait and so many objects, a broker with their messages, and both services."""

    def __init__(self, waiting: int, objects: int) -> None:
        self.clock = ManualClock()
        self.clock.advance(1_000_000)
        self.bucket = CountingBucket(self.clock)
        self.store = JobsStore(self.bucket)
        self.broker = MemoryBroker(self.clock, 30.0)
        self.jobs = ClusterJobs(self.store, self.broker, NoNotices())
        self.engine = MemoryWork(self.store, self.broker, "engine", self.clock)
        pattern = self.submit()
        for _ in range(waiting - 1):
            job = pattern.model_copy(update={"id": new_job_id()})
            folder = self.store.folder(job.id)
            self.bucket.fill(f"{folder}/source", JPEG)
            self.bucket.fill(f"{folder}/job.json", job.message())
            self.bucket.fill(marker(job.id, job.submitted_at), b"")
            self.broker.send(job.id)
        # Jobs that have ended, with the objects that each has left.
        numbers = itertools.count()
        while len(self.bucket._modified) < objects:
            job_id, number = new_job_id(), next(numbers)
            folder = self.store.folder(job_id)
            for name in ("job.json", "source", "claim.1", "outcome.json", "result/1-photo.jpg"):
                self.bucket.fill(f"{folder}/{name}", b"{}")
            self.bucket.fill(f"idempotency/{number:064x}/1", b'{"job": "%s", "content": ""}' % job_id.encode())
            self.bucket.fill(f"recent/{10**17 - number:017d}!{job_id}", b"")
            self.bucket.fill(f"ended/{10**17 - number:017d}!{job_id}", b"")

    def submit(self, key: IdempotencyKey | None = None) -> Job:
        with self.jobs.begin(key) as submission:
            submission.picture.write(JPEG)
            return submission.commit(filename=None, resize=Resize(width=8))

    def cost(self, step: Callable[[], Any]) -> dict[str, int]:
        self.bucket.asked.clear()
        step()
        return dict(+self.bucket.asked)

    def costs(self) -> dict[str, dict[str, int]]:
        """What each step of a job's life asks of the store."""
        key = IdempotencyKey("a-request")
        held: list[Any] = []
        found = {
            "submit": self.cost(self.submit),
            "submit with a key": self.cost(lambda: self.submit(key)),
            "the same again": self.cost(lambda: self.submit(key)),
            "claim": self.cost(lambda: held.append(self.engine.next(0))),
            "cancel": self.cost(lambda: self.jobs.cancel(held[0].job.id)),
            "status of a job that has ended": self.cost(lambda: self.jobs.status(held[0].job.id)),
        }
        self.engine.announce()
        found["readiness"] = self.cost(self.jobs.engines)
        return found


@pytest.fixture(scope="module")
def large() -> Site:
    return Site(*LARGE)


def test_submitting_claiming_and_asking_cost_the_same_among_many(large: Site, figure: Figure) -> None:
    among_few, among_many = Site(*SMALL).costs(), large.costs()
    assert among_many == among_few
    for step in ("submit", "claim"):
        told = ", ".join(f"{count} {what}" for what, count in sorted(among_many[step].items()))
        figure(f"{step} among {LARGE[0]:,} jobs that wait and {LARGE[1]:,} objects", f"{told}: as among {SMALL[0]}")


def test_what_is_counted_is_counted_by_the_page(large: Site) -> None:
    """The backlog and positions among many: a page of names, twenty at most."""
    assert large.cost(large.jobs.capacity) == {"listings": 1, "names": PAGE}
    large.clock.advance(60)
    asked = large.cost(lambda: large.jobs.status(large.submit().id))
    assert asked["listings"] <= 22
    assert asked["reads"] <= 50


def test_a_step_of_housekeeping_is_bounded(large: Site, figure: Figure) -> None:
    """It runs between two jobs of an engine, so that none of them waits for it long."""
    large.clock.advance(LEFTOVER_SECONDS + 1)
    steps = []
    for _ in range(300):
        steps.append(large.cost(large.engine.maintain))
        large.clock.advance(1.0)
    most = {what: max(step.get(what, 0) for step in steps) for what in ("listings", "names", "reads", "writes")}
    assert most["listings"] <= 3  # of jobs, of the index or of keys, and of engines' metrics
    assert most["names"] <= 2 * PAGE
    assert most["reads"] <= 200
    assert most["writes"] <= BATCH
    figure("a step of housekeeping there", ", ".join(f"{count} {what}" for what, count in most.items()) + " at most")


def test_all_of_a_large_shard_is_cleaned_and_no_job_is_torn() -> None:
    """A page ends in the middle of a job."""
    site = Site(*SMALL)
    shard, ended = 0x5E, []
    for number in range(300):
        job_id = f"{shard:02x}{new_job_id()[2:]}"
        for name in ("job.json", "source", "claim.1", "result/1-photo.jpg", *(("outcome.json",) if number % 2 else ())):
            site.bucket.fill(f"{site.store.folder(job_id)}/{name}", b"{}")
        ended += [job_id] if number % 2 else []
    site.clock.advance(RETENTION + 1)
    cleanup = Cleanup(site.store, RETENTION)
    last, pages = cleanup.shard(shard), 1
    while last:
        last, pages = cleanup.shard(shard, last), pages + 1
    assert pages == 2
    left = {name.partition("/")[0] for name in site.bucket.names(f"jobs/{shard:02x}", 10 * PAGE)}
    assert len(left) >= 150
    assert left.isdisjoint(ended)
    for job_id in left:
        assert site.store.look(job_id).exists


def test_a_broker_that_lost_more_than_a_page_of_messages_gets_all_of_them_again(figure: Figure) -> None:
    site = Site(LARGE[0], 0)
    site.broker.purge()
    steps = 0
    site.clock.advance(200)
    while site.broker.waiting() < LARGE[0] and steps < LARGE[0]:
        site.engine.maintain()
        steps += 1
    assert site.broker.waiting() == LARGE[0]
    figure(f"a broker that lost {LARGE[0]:,} messages", f"all sent again in {steps} steps of one engine")
