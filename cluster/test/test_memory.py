"""What the parts of the cluster do by themselves, over a store and a broker in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from img_cluster.bucket import Bucket
from img_cluster.cleanup import LEFTOVER_SECONDS, Cleanup
from img_cluster.idempotency import UNDER_WAY_SECONDS
from img_cluster.index import arrival_key, note
from img_cluster.jobs import ClusterJobs
from img_cluster.listing import MOST_JOBS
from img_cluster.memory import MemoryBroker, MemoryBucket, MemoryWork, NoNotices
from img_cluster.objects import JobsStore, marker
from img_cluster.proof import prove, race
from img_contract.errors import StoreUnavailable, SubmissionUnderWay, UnknownJob
from img_contract.job.job import Job, new_job_id, now
from img_contract.job.outcome import Failure, FailureCode, State
from img_contract.job.query import JobQuery
from img_contract.job.resize import Resize
from img_contract.ports import IdempotencyKey
from img_contract.testing import ManualClock, until
from obstore.store import MemoryStore
from structlog.testing import capture_logs

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
RETENTION_SECONDS = 24 * 3600.0
KEY = IdempotencyKey("a request of mine")


@dataclass
class Site:
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.clock.advance(1_000_000)
        self.bucket = MemoryBucket(self.clock)
        self.store = JobsStore(self.bucket)
        self.broker = MemoryBroker(self.clock, 30.0)
        self.jobs = self.replica()
        self.engine = MemoryWork(self.store, self.broker, "engine", self.clock)

    def replica(self) -> ClusterJobs:
        return ClusterJobs(self.store, self.broker, NoNotices(), clock=self.clock)

    def submit(self, jobs: ClusterJobs | None = None, key: IdempotencyKey | None = None) -> Job:
        with (jobs or self.jobs).begin(key) as submission:
            submission.picture.write(JPEG)
            return submission.commit(filename=None, resize=Resize(width=8))

    def maintain(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.engine.maintain()


@pytest.fixture
def site() -> Site:
    return Site()


class ForgetfulBucket(Bucket):
    """A store that does not know conditions."""

    def create(self, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True


def test_a_store_on_which_an_object_is_created_twice_is_refused_with_the_reason() -> None:
    with pytest.raises(StoreUnavailable, match="does not honour If-None-Match"):
        prove(ForgetfulBucket(MemoryStore(), "old"))
    good = Bucket(MemoryStore(), "good")
    prove(good)
    assert race([good, good]) == [1] * 5
    assert good.names("probes") == {}
    assert set(race([ForgetfulBucket(MemoryStore(), "old")])) != {1}


def test_a_creation_that_is_sent_again_finds_its_own_object(site: Site) -> None:
    assert site.bucket.create("once", b"mine")
    assert site.bucket.create("once", b"mine")
    assert not site.bucket.create("once", b"another's")


def test_a_file_of_the_store_is_read_from_anywhere_in_it() -> None:
    bucket, content = Bucket(MemoryStore(), "files"), hashlib.sha512(b"").digest() * 20_000
    bucket.put("large", content)
    found = bucket.open("large")
    assert found is not None
    assert found.size == len(content)
    with io.BufferedReader(found, 100_000) as file:
        assert file.read(10) == content[:10]
        file.seek(700_000)
        assert file.read(300_000) == content[700_000:1_000_000]
        file.seek(-5, io.SEEK_END)
        assert file.read() == content[-5:]
        file.seek(0)
        assert file.read() == content
    assert bucket.open("nothing") is None


def test_jobs_whose_messages_are_lost_are_sent_again_while_an_engine_keeps_house(site: Site) -> None:
    jobs = [site.submit() for _ in range(120)]
    site.broker.purge()
    site.maintain(60)
    assert site.broker.waiting() == 0, "young jobs may have their messages under way"
    site.maintain(200)
    assert site.broker.waiting() == len(jobs)
    site.maintain(400)
    assert site.broker.waiting() == len(jobs), "they are sent once"


def test_what_an_api_left_that_died_goes_and_a_marker_that_was_lost_comes_back(site: Site) -> None:
    whole, half = site.submit(), site.submit()
    site.broker.purge()
    site.bucket.delete([f"{site.store.folder(half.id)}/job.json", marker(whole.id, whole.submitted_at)])
    with pytest.raises(UnknownJob):
        site.jobs.status(half.id)
    site.clock.advance(LEFTOVER_SECONDS + 1)
    cleanup = Cleanup(site.store, 24 * 3600.0)
    for number in range(256):
        cleanup.shard(number)
    assert site.bucket.names(site.store.folder(half.id)) == {}
    assert site.bucket.exists(marker(whole.id, whole.submitted_at))
    site.maintain(400)
    assert site.engine.next(0) is not None
    assert not site.bucket.exists(marker(half.id, half.submitted_at))


def test_keys_of_jobs_that_expired_go(site: Site) -> None:
    job = site.submit(key=KEY)
    site.clock.advance(RETENTION_SECONDS + 1)
    cleanup = Cleanup(site.store, RETENTION_SECONDS)
    cleanup.keys()
    assert len(site.bucket.names("idempotency")) == 1, "its job waits still"
    site.bucket.delete([f"{site.store.folder(job.id)}/job.json"])
    cleanup.keys()
    assert site.bucket.names("idempotency") == {}


def test_the_names_of_a_job_in_the_index_go_with_it(site: Site) -> None:
    jobs = [site.submit() for _ in range(2)]
    for _ in jobs:
        claim: Any = until(lambda: site.engine.next(0))
        claim.fail(Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken"))
        claim.close()
    site.bucket.age(f"{site.store.folder(jobs[0].id)}/outcome.json", RETENTION_SECONDS + 1)
    cleanup = Cleanup(site.store, RETENTION_SECONDS)
    for number in range(256):
        cleanup.shard(number)
    for folder in ("recent", "ended"):
        assert [name.split("!")[2] for name in site.bucket.names(folder)] == [jobs[1].id]
    assert site.bucket.names(site.store.folder(jobs[0].id)) == {}


def test_old_names_whose_job_is_gone_go_and_those_of_a_job_that_still_waits_stay(site: Site) -> None:
    waiting = site.submit()
    old = now() - timedelta(seconds=RETENTION_SECONDS + LEFTOVER_SECONDS + 60)
    for job_id in (waiting.id, new_job_id()):
        note(site.bucket, arrival_key(waiting.model_copy(update={"id": job_id, "submitted_at": old})))
    young = waiting.model_copy(update={"id": new_job_id()})
    note(site.bucket, arrival_key(young))
    cleanup = Cleanup(site.store, RETENTION_SECONDS)
    for _ in range(3):
        cleanup.index()
    found = [name.split("!")[2] for name in site.bucket.names("recent")]
    assert sorted(found) == sorted([young.id, waiting.id, waiting.id])


def test_a_page_passes_over_a_bounded_number_of_names(site: Site) -> None:
    job = site.submit()
    present = now()
    for _ in range(MOST_JOBS + 50):
        note(site.bucket, arrival_key(job.model_copy(update={"id": new_job_id(), "submitted_at": present})))
    opened: list[str] = []
    status = site.jobs._listing._status
    site.jobs._listing._status = lambda job_id: opened.append(job_id) or status(job_id)  # type: ignore[func-returns-value]
    first = site.jobs.list(JobQuery(), 50)
    assert (first.jobs, len(opened)) == ((), MOST_JOBS)
    second = site.jobs.list(JobQuery(), 50, first.next)
    assert [found.id for found in second.jobs] == [job.id]


def test_a_key_whose_request_died_at_another_replica_is_free_after_a_minute(site: Site) -> None:
    job = site.submit(key=KEY)
    site.bucket.delete([f"{site.store.folder(job.id)}/job.json"])  # as if it had died before this
    other = site.replica()
    with pytest.raises(SubmissionUnderWay):
        site.submit(other, KEY)
    site.clock.advance(UNDER_WAY_SECONDS + 1)
    second = site.submit(other, KEY)
    assert second.id != job.id
    assert site.submit(site.replica(), KEY).id == second.id


def test_a_submission_that_the_broker_refuses_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise StoreUnavailable("the queue is full")

    monkeypatch.setattr(site.broker, "send", refuse)  # a fault of the broker, not of ours
    with pytest.raises(StoreUnavailable):
        site.submit(key=KEY)
    assert [site.bucket.names(folder) for folder in ("jobs", "pending", "idempotency", "recent")] == [{}] * 4
    monkeypatch.undo()
    assert site.jobs.status(site.submit(key=KEY).id).state is State.QUEUED


def test_claims_that_nobody_has_taken_up_go_back_when_an_engine_stops(site: Site) -> None:
    jobs = [site.submit() for _ in range(2)]
    for _ in jobs:
        site.engine.broker_delivers()
    assert {site.jobs.status(job.id).state for job in jobs} == {State.PROCESSING, State.QUEUED}
    site.engine.stop_taking()
    assert {site.jobs.status(job.id).state for job in jobs} == {State.QUEUED}
    other = MemoryWork(site.store, site.broker, "other", site.clock)
    claims: list[Any] = [until(lambda: other.next(0)) for _ in jobs]
    assert [claim.attempt for claim in claims] == [1, 1]


def test_a_claim_that_the_store_made_without_an_answer_costs_no_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = site.bucket.create

    def lose_the_answer(key: str, data: bytes) -> bool:
        create(key, data)
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(site.bucket, "create", lose_the_answer)  # a fault of the store, not of ours
    site.submit()
    with pytest.raises(StoreUnavailable):
        site.engine.next(0)
    monkeypatch.undo()
    site.clock.advance(31)  # the message, which was not settled, comes again
    claim: Any = until(lambda: site.engine.next(0))
    assert claim.attempt == 1
    assert claim.heartbeat()


def test_jobs_do_not_wait_for_a_broken_queue_of_those_that_are_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse() -> None:
        asked.append(True)
        raise StoreUnavailable("that queue does not answer")

    monkeypatch.setattr(site.engine._retries, "get", refuse)  # a fault of the broker, not of ours
    jobs = [site.submit() for _ in range(3)]
    claims: list[Any] = [site.engine.next(0) for _ in jobs]
    assert [claim.job.id for claim in claims] == [job.id for job in jobs]
    assert len(asked) == 1, "it is left alone for a while"


def test_submitting_and_claiming_stay_flat_with_many_jobs(site: Site) -> None:
    """They list a page at most: what they read does not grow with what waits."""
    for _ in range(1500):
        site.submit()
    listed = []
    names = site.bucket.names

    def counting(folder: str, most: int = 1000, after: str | None = None) -> Any:
        found = names(folder, most, after)
        listed.append(len(found))
        return found

    site.bucket.names = counting  # type: ignore[method-assign]  # it counts, and does the same
    assert site.jobs.capacity().pending == 1500
    assert listed.pop() <= 1000
    job = site.submit()
    assert site.engine.next(0) is not None
    assert max(listed) <= 10
    listed.clear()
    for _ in range(3):
        assert site.jobs.status(job.id).position == 1499
    assert [found for found in listed if found > 10] == [1501], "who waits is looked up once in a few seconds"


def test_metrics_are_written_as_often_as_they_are_scraped_and_removed_long_after_their_engine_died(site: Site) -> None:
    site.engine.announce()
    for text in ("first", "second"):  # which comes too soon after the first
        site.engine.publish_metrics(text)
    assert site.jobs.engine_metrics() == {"engine": "first"}
    site.bucket.put("metrics/engine", b"\xff")
    assert site.jobs.engine_metrics() == {}
    site.clock.advance(31)
    assert site.jobs.engine_metrics() == {}
    site.clock.advance(LEFTOVER_SECONDS)
    Cleanup(site.store, 86400).marks()
    assert site.bucket.names("metrics") == {}


def test_an_attempt_of_which_nothing_was_heard_and_a_job_that_is_given_up_are_logged(site: Site) -> None:
    job = site.submit()
    with capture_logs() as logs:
        for number in range(4):
            engine = MemoryWork(site.store, site.broker, f"engine {number}", site.clock)
            engine.next(0)
            site.clock.advance(31)  # its connection is gone
    assert [(line["event"], line["id"], line.get("attempt")) for line in logs] == [
        ("attempt_lost", job.id, 1),
        ("attempt_lost", job.id, 2),
        ("attempt_lost", job.id, 3),
        ("job_failed", job.id, None),
    ]
