"""What every backend promises, through its ports alone."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.errors import (
    JobDeleted,
    JobNotDone,
    KeyReused,
    ResultGone,
    SubmissionUnderWay,
    UnknownJob,
    UnknownResult,
)
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, FailureCode, ResultWarning, State, WarningCode
from img_contract.job.resize import Resize
from img_contract.ports import METRICS_BYTES, Claim, IdempotencyKey
from img_contract.testing import write_result

Backend = Any
JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
LEASE_SECONDS = 100.0
FACTS = Facts(width=80, height=60)
FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")
KEY = IdempotencyKey("a request of mine")

GUID = "5e1f3a9c-0b7d-4c52-9a86-d2f4e7b1c303"


def publish(claim: Claim, content: bytes = b"pixels") -> bool:
    with claim.files() as files:
        published = claim.publish([write_result(files, content)], FACTS, ())
    claim.close()
    return published


def state(backend: Backend, job: Job) -> State:
    found: State = backend.jobs.status(job.id).state
    return found


def submit_under_key(backend: Backend, key: IdempotencyKey, width: int = 8) -> tuple[Job, bool]:
    with backend.jobs.begin(key) as submission:
        submission.picture.write(JPEG)
        job = submission.commit(filename=None, resize=Resize(width=width))
        return job, submission.repeated


# Submitting


def test_a_submitted_job_is_queued_with_all_that_was_asked(backend: Backend) -> None:
    job = backend.submit(owner="alice")
    status = backend.jobs.status(job.id)
    assert (status.state, status.attempt, status.job, status.owner) == (State.QUEUED, 0, job, "alice")
    assert (job.source.bytes, job.source.media_type, job.source.filename) == (64, "image/jpeg", "photo.jpg")
    assert not backend.jobs.wait_ended(job.id, 0)
    assert backend.jobs.capacity().pending == 1


def test_an_upload_that_is_not_committed_leaves_nothing(backend: Backend) -> None:
    with backend.jobs.begin() as submission:
        submission.picture.write(b"half of it")
        assert submission.picture.received == 10
    assert backend.take() is None
    assert backend.jobs.capacity().pending == 0


def test_what_is_not_a_picture_is_not_made_a_job(backend: Backend) -> None:
    with backend.jobs.begin() as submission:
        submission.picture.write(b"some text")
        with pytest.raises(ValueError, match="first bytes"):
            submission.commit(filename=None, resize=Resize(width=8))
    assert backend.jobs.capacity().pending == 0


def test_the_engine_reads_the_files_as_they_were_sent(backend: Backend) -> None:
    with backend.jobs.begin() as submission:
        submission.picture.write(JPEG)
        submission.picture.write(b"more")
        submission.watermark().write(b"\x89PNG\r\n\x1a\n")
        submission.watermark().write(b"mark")
        submission.commit(filename=None, resize=Resize(width=8))
    claim = backend.claimed()
    assert claim.job.watermark.bytes == 12
    with claim.files() as files:
        assert files.source.read_bytes() == JPEG + b"more"
        assert files.watermark.read_bytes() == b"\x89PNG\r\n\x1a\nmark"


def test_options_are_read_back_as_they_were_asked(backend: Backend) -> None:
    options = Resize.model_validate({"width": "20", "fit": "cover", "background": "f80", "enlarge": "true"})
    with backend.jobs.begin() as submission:
        submission.picture.write(JPEG)
        job = submission.commit(filename=None, resize=options)
    assert backend.jobs.status(job.id).job.resize == options
    assert backend.claimed().job == job


# Idempotency-Keys


def test_a_request_that_is_sent_again_gives_the_first_job(backend: Backend) -> None:
    first, repeated = submit_under_key(backend, KEY)
    assert not repeated
    assert submit_under_key(backend, KEY) == (first, True)
    assert backend.jobs.capacity().pending == 1


def test_a_key_that_comes_with_something_else_is_refused(backend: Backend) -> None:
    submit_under_key(backend, KEY)
    with pytest.raises(KeyReused):
        submit_under_key(backend, KEY, width=9)
    with pytest.raises(KeyReused), backend.jobs.begin(KEY) as submission:
        submission.picture.write(JPEG)
        submission.commit(filename=None, resize=Resize(width=8), accept=("webp",))
    assert backend.jobs.capacity().pending == 1


def test_the_same_key_of_another_client_is_another_key(backend: Backend) -> None:
    first, _ = submit_under_key(backend, IdempotencyKey("1", "alice"))
    second, repeated = submit_under_key(backend, IdempotencyKey("1", "bob"))
    assert first != second
    assert not repeated


def test_of_two_requests_with_one_key_at_once_the_second_is_refused(backend: Backend) -> None:
    with backend.jobs.begin(KEY):
        with pytest.raises(SubmissionUnderWay), backend.jobs.begin(KEY):
            pass
        with pytest.raises(SubmissionUnderWay), backend.jobs.begin(KEY):  # the refused one did not free it
            pass
    submit_under_key(backend, KEY)


# Claiming


def test_the_oldest_job_comes_first(backend: Backend) -> None:
    jobs = [backend.submit() for _ in range(5)]
    assert [backend.claimed().job.id for _ in jobs] == [job.id for job in jobs]
    assert backend.take() is None


def test_a_claimed_job_is_processing_and_is_claimed_once(backend: Backend) -> None:
    job = backend.submit()
    claim = backend.claimed()
    assert (claim.job, claim.attempt) == (job, 1)
    status = backend.jobs.status(job.id)
    assert (status.state, status.attempt) == (State.PROCESSING, 1)
    assert status.started_at is not None
    assert backend.take() is None
    assert backend.take(backend.new_engine("other")) is None


def test_of_many_engines_that_claim_at_once_one_wins(backend: Backend) -> None:
    backend.submit()
    barrier = threading.Barrier(8)
    claims: list[Claim | None] = []

    def race(name: str) -> None:
        engine = backend.new_engine(name)
        barrier.wait()
        claims.append(engine.next(0))

    threads = [threading.Thread(target=race, args=(f"engine-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in claims if claim]) == 1


def test_a_claim_with_heartbeats_outlives_its_lease(backend: Backend) -> None:
    backend.submit()
    claim, other = backend.claimed(), backend.new_engine("other")
    for _ in range(5):
        assert other.next(0) is None
        backend.clock.advance(LEASE_SECONDS * 0.7)
        assert claim.heartbeat()


def test_a_claim_without_heartbeats_dies_and_its_holder_learns_of_it(backend: Backend) -> None:
    backend.submit()
    frozen, other = backend.claimed(), backend.new_engine("other")
    backend.let_lease_end(other)
    second = backend.claimed(other)
    assert second.attempt == 2
    assert not frozen.heartbeat()
    assert second.heartbeat()


def test_a_dead_claim_is_not_taken_over_by_the_engine_that_still_works_on_it(backend: Backend) -> None:
    """It was frozen for a lease: its child is still at it."""
    backend.submit()
    claim = backend.claimed()
    backend.let_lease_end(backend.engine)
    assert backend.take() is None
    claim.close()
    assert backend.claimed().attempt == 2


# Ending


def test_a_published_result_can_be_opened_and_its_facts_read(backend: Backend) -> None:
    job = backend.submit()
    claim = backend.claimed()
    warning = ResultWarning(code=WarningCode.NOT_ENLARGED, detail="it is small")
    with claim.files() as files:
        assert claim.publish([write_result(files)], FACTS, (warning,))
    status = backend.jobs.status(job.id)
    assert (status.state, status.outcome.facts, status.outcome.warnings) == (State.DONE, FACTS, (warning,))
    result = backend.jobs.open_result(status)
    with result.file:
        assert result.file.read() == b"pixels"
    assert result.output.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert (result.output.width, result.output.height, result.output.media_type) == (8, 6, "image/jpeg")
    named = backend.jobs.open_result(status, "image.jpg")
    named.file.close()
    assert named.output == result.output
    with pytest.raises(UnknownResult):
        backend.jobs.open_result(status, "other.jpg")
    assert backend.jobs.wait_ended(job.id, 0)
    assert backend.jobs.capacity().pending == 0
    claim.close()
    assert backend.take() is None


def test_a_failed_job_carries_its_reason(backend: Backend) -> None:
    job = backend.submit()
    assert backend.claimed().fail(FAILURE, FACTS)
    status = backend.jobs.status(job.id)
    assert (status.state, status.outcome.error, status.outcome.facts) == (State.FAILED, FAILURE, FACTS)
    with pytest.raises(JobNotDone) as raised:
        backend.jobs.open_result(status)
    assert raised.value.status == status


def test_the_first_outcome_stands_and_later_ones_are_dropped(backend: Backend) -> None:
    job = backend.submit()
    slow, other = backend.claimed(), backend.new_engine("other")
    with slow.files() as files:
        late = write_result(files, b"the slow one's")
        backend.let_lease_end(other)
        assert publish(backend.claimed(other), b"the quick one's")
        assert not slow.publish([late], FACTS, ())
    assert not slow.fail(FAILURE)
    result = backend.jobs.open_result(backend.jobs.status(job.id))
    with result.file:
        assert result.file.read() == b"the quick one's"


def test_a_released_claim_costs_no_attempt(backend: Backend) -> None:
    job = backend.submit()
    claim = backend.claimed()
    claim.release()
    claim.close()
    assert state(backend, job) is State.QUEUED
    assert backend.claimed().attempt == 1


def test_an_abandoned_attempt_counts_and_the_job_is_tried_behind_the_others(backend: Backend) -> None:
    poison = backend.submit()
    claim = backend.claimed()
    claim.abandon("the child died")
    claim.close()
    others = [backend.submit() for _ in range(3)]
    order = []
    for _ in range(4):
        claim = backend.claimed()
        order.append((claim.job.id, claim.attempt))
        publish(claim)
    assert order == [*((other.id, 1) for other in others), (poison.id, 2)]


def test_of_the_jobs_that_cost_an_attempt_one_is_tried_at_a_time(backend: Backend) -> None:
    for _ in range(2):
        backend.submit()
    claims = [backend.claimed(), backend.claimed()]
    for claim in claims:
        claim.abandon("the child died")
        claim.close()
    first = backend.claimed()
    assert backend.take() is None
    first.fail(FAILURE)
    first.close()
    assert backend.claimed().job.id != first.job.id


def test_a_job_fails_after_three_attempts_with_the_last_reason(backend: Backend) -> None:
    job = backend.submit()
    for attempt in (1, 2, 3):
        claim = backend.claimed()
        assert claim.attempt == attempt
        claim.abandon(f"the child died at attempt {attempt}")
        claim.close()
    assert backend.take() is None
    status = backend.jobs.status(job.id)
    assert (status.state, status.attempt) == (State.FAILED, 3)
    assert status.outcome.error.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert "the child died at attempt 3" in status.outcome.error.detail
    assert backend.jobs.capacity().pending == 0


def test_attempts_that_end_without_a_word_count(backend: Backend) -> None:
    job = backend.submit()
    backend.claimed()
    for attempt in (2, 3):
        engine = backend.new_engine(f"engine-{attempt}")
        backend.let_lease_end(engine)
        assert backend.claimed(engine).attempt == attempt
    last = backend.new_engine("last")
    backend.let_lease_end(last)
    assert backend.take(last) is None
    assert "no word" in backend.jobs.status(job.id).outcome.error.detail


# Cancelling


def test_a_queued_job_can_be_cancelled_as_often_as_you_like(backend: Backend) -> None:
    job = backend.submit()
    for _ in range(3):
        backend.jobs.cancel(job.id)
        assert state(backend, job) is State.CANCELLED
    assert backend.take() is None
    assert backend.jobs.capacity().pending == 0


def test_a_running_job_can_be_cancelled_and_its_result_is_dropped(backend: Backend) -> None:
    job = backend.submit()
    claim = backend.claimed()
    backend.jobs.cancel(job.id)
    assert not claim.heartbeat()
    assert not claim.fail(FAILURE)
    assert state(backend, job) is State.CANCELLED


def test_a_job_that_ended_is_deleted_and_stays_deleted(backend: Backend) -> None:
    job = backend.submit(owner="alice")
    publish(backend.claimed())
    before = backend.jobs.status(job.id)
    for _ in range(3):
        backend.jobs.cancel(job.id)
        with pytest.raises(JobDeleted) as raised:
            backend.jobs.status(job.id)
        assert raised.value.owner == "alice"
        with pytest.raises(ResultGone):
            backend.jobs.open_result(before)


@pytest.mark.parametrize("job_id", [GUID, "", ".", "..", "../../etc/passwd", "a" * 4096, "A" * 36, "\0", GUID.upper()])
def test_an_id_that_is_no_jobs_is_unknown_to_every_verb(backend: Backend, job_id: str) -> None:
    for verb in (backend.jobs.status, backend.jobs.cancel):
        with pytest.raises(UnknownJob):
            verb(job_id)
    assert backend.jobs.wait_ended(job_id, 60)


# Waiting


@pytest.mark.parametrize(
    "end", [lambda backend: backend.claimed().fail(FAILURE), lambda backend: publish(backend.claimed())]
)
def test_a_wait_returns_when_the_job_ends(backend: Backend, end: Callable[[Backend], object]) -> None:
    job = backend.submit()
    waiting = threading.Event()

    def given_up() -> bool:
        waiting.set()
        return False

    waits: list[bool] = []
    thread = threading.Thread(target=lambda: waits.append(backend.jobs.wait_ended(job.id, 60, given_up)))
    thread.start()
    assert waiting.wait(60)
    end(backend)
    thread.join(60)
    assert waits == [True]


def test_a_wait_returns_at_its_time_or_when_it_is_given_up(backend: Backend) -> None:
    job = backend.submit()
    assert not backend.jobs.wait_ended(job.id, 0.05)
    asked: list[float] = []
    assert not backend.jobs.wait_ended(job.id, 3600, lambda: asked.append(time.monotonic()) or len(asked) > 2)


# Engines


def test_engines_that_announce_themselves_are_alive_until_they_withdraw(backend: Backend) -> None:
    one, two = backend.new_engine("one"), backend.new_engine("two")
    assert backend.jobs.engines() == []
    one.announce()
    two.announce()
    one.withdraw()
    one.withdraw()
    assert backend.jobs.engines() == ["two"]


def test_what_an_engine_publishes_is_read_until_it_withdraws(backend: Backend) -> None:
    one, two, long = (backend.new_engine(name) for name in ("one", "two", "long"))
    for engine, text in ((one, "img_a 1\n"), (two, "größer\n"), (long, "x" * (METRICS_BYTES + 1))):
        engine.announce()
        engine.publish_metrics(text)
    assert backend.jobs.engine_metrics() == {"one": "img_a 1\n", "two": "größer\n"}
    one.withdraw()
    one.withdraw()
    assert backend.jobs.engine_metrics() == {"two": "größer\n"}


def test_cancelling_tells_whether_it_has_ended_the_job(backend: Backend) -> None:
    waiting, done = backend.submit(), backend.submit()
    assert backend.jobs.cancel(waiting.id)
    publish(backend.claimed())
    assert [backend.jobs.cancel(one.id) for one in (waiting, done, done)] == [False, False, False]


def test_maintaining_keeps_what_is_young(backend: Backend) -> None:
    done, waiting = backend.submit(), backend.submit()
    publish(backend.claimed())
    for _ in range(300):
        backend.engine.maintain()
        backend.clock.advance(1.0)
    assert state(backend, done) is State.DONE
    assert state(backend, waiting) is State.QUEUED
