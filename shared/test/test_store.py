"""What every JobStore promises; run against each implementation. VolumeStore is the one there is."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

import pytest
from img_contract.errors import JobDeleted, JobNotDone, UnknownJob, UnknownResult
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, FailureCode, ResultFile, State
from img_contract.job.resize import Resize
from img_contract.ports import Claim, JobStore

Submit = Callable[[], Job]

FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")

GUID = "5e1f3a9c-0b7d-4c52-9a86-d2f4e7b1c303"


def publish(claim: Claim, content: bytes = b"pixels") -> bool:
    path = claim.workspace / f".{claim.attempt}.part"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    rendered = ResultFile(path, "image.jpg", "image/jpeg", 8, 6, 1, len(content), sha256)
    return claim.publish([rendered], Facts(width=80, height=60), ())


def claimed(store: JobStore, job: Job, engine: str = "engine") -> Claim:
    claim = store.claim(job.id, engine)
    assert claim is not None
    return claim


def claim_within(store: JobStore, job: Job, seconds: float) -> Claim:
    """Keep looking, as an engine's sweep does, until the job can be claimed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if job.id in store.pending():
            return claimed(store, job, "other")
        threading.Event().wait(0.01)
    raise AssertionError(f"not claimable within {seconds} s")


def test_a_submitted_job_is_queued_and_pending_with_all_that_was_asked(store: JobStore, submit: Submit) -> None:
    job = submit()
    status = store.status(job.id)
    assert (status.state, status.attempt, status.job) == (State.QUEUED, 0, job)
    assert store.pending() == [job.id]
    assert not store.ended(job.id)
    assert store.capacity().pending == 1


def test_an_upload_that_is_not_committed_leaves_nothing(store: JobStore) -> None:
    with store.begin() as submission:
        submission.picture.write(b"half of it")
    assert store.pending() == []
    assert store.capacity().pending == 0


def test_pending_lists_the_oldest_first(store: JobStore, submit: Submit) -> None:
    jobs = [submit() for _ in range(5)]
    assert store.pending() == [job.id for job in jobs]


def test_a_claimed_job_is_processing_and_no_longer_pending(store: JobStore, submit: Submit) -> None:
    job = submit()
    claim = claimed(store, job)
    assert claim.attempt == 1
    assert claim.source.read_bytes().startswith(b"\xff\xd8\xff")
    assert store.status(job.id).state is State.PROCESSING
    assert store.status(job.id).started_at is not None
    assert store.pending() == []
    assert store.claim(job.id, "other") is None


def test_of_many_that_claim_at_once_one_wins(store: JobStore, submit: Submit) -> None:
    job = submit()
    barrier = threading.Barrier(8)
    claims: list[Claim | None] = []

    def race(name: str) -> None:
        barrier.wait()
        claims.append(store.claim(job.id, name))

    threads = [threading.Thread(target=race, args=(f"engine-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in claims if claim]) == 1


def test_a_published_result_can_be_opened_and_its_facts_read(store: JobStore, submit: Submit) -> None:
    job = submit()
    assert publish(claimed(store, job))
    path, output, status = store.open_result(job.id)
    assert path.read_bytes() == b"pixels"
    assert output.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert (output.width, output.height, output.media_type) == (8, 6, "image/jpeg")
    assert status.state is State.DONE
    assert status.outcome is not None
    assert status.outcome.facts == Facts(width=80, height=60)
    assert store.ended(job.id)
    assert store.pending() == []
    assert store.open_result(job.id, "image.jpg")[1] == output
    with pytest.raises(UnknownResult):
        store.open_result(job.id, "other.jpg")


def test_a_failed_job_carries_its_reason(store: JobStore, submit: Submit) -> None:
    job = submit()
    assert claimed(store, job).fail(FAILURE)
    with pytest.raises(JobNotDone) as raised:
        store.open_result(job.id)
    outcome = raised.value.status.outcome
    assert outcome is not None
    assert outcome.error == FAILURE
    assert store.pending() == []


def test_the_first_outcome_stands_and_later_ones_are_dropped(store: JobStore, submit: Submit) -> None:
    job = submit()
    slow = claimed(store, job)
    quick = claim_within(store, job, 5)
    assert publish(quick, b"the quick one's")
    assert not publish(slow, b"the slow one's")
    assert not slow.fail(FAILURE)
    path, output, _ = store.open_result(job.id)
    assert path.read_bytes() == b"the quick one's"
    assert output.sha256 == hashlib.sha256(b"the quick one's").hexdigest()


def test_a_claim_that_is_touched_outlives_its_lease(store: JobStore, submit: Submit) -> None:
    job = submit()
    claim = claimed(store, job)
    began = time.monotonic()
    while time.monotonic() - began < 0.6:  # three leases
        assert claim.heartbeat()
        assert store.pending() == []
        threading.Event().wait(0.02)


def test_a_claim_that_is_not_touched_dies_and_its_holder_learns_of_it(store: JobStore, submit: Submit) -> None:
    job = submit()
    frozen = claimed(store, job)
    other = claim_within(store, job, 5)
    assert other.attempt == 2
    assert not frozen.heartbeat()
    assert other.heartbeat()


def test_a_lease_is_never_judged_by_the_wall_clock(store: JobStore, submit: Submit) -> None:
    """A claim whose mtime lies an hour off is alive as long as it changes."""
    import os

    job = submit()
    claim = claimed(store, job)
    for offset in (-3600.0, 3600.0):
        beat = time.time() + offset
        os.utime(claim.workspace.parent / "claim.1", (beat, beat))
        assert store.pending() == []


def test_a_released_claim_costs_no_attempt(store: JobStore, submit: Submit) -> None:
    job = submit()
    claimed(store, job).release()
    assert store.status(job.id).state is State.QUEUED
    assert claimed(store, job).attempt == 1


def test_an_abandoned_attempt_counts_and_the_next_may_start_at_once(store: JobStore, submit: Submit) -> None:
    job = submit()
    claimed(store, job).abandon("the child died")
    assert store.pending() == [job.id]
    assert claimed(store, job).attempt == 2


def test_a_job_fails_after_three_attempts_with_the_last_reason(store: JobStore, submit: Submit) -> None:
    job = submit()
    for attempt in (1, 2, 3):
        claimed(store, job).abandon(f"the child died the {attempt}. time")
    assert store.claim(job.id, "engine") is None
    status = store.status(job.id)
    assert status.state is State.FAILED
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert "the child died the 3. time" in status.outcome.error.detail
    assert store.pending() == []


def test_a_queued_job_can_be_cancelled(store: JobStore, submit: Submit) -> None:
    job = submit()
    store.cancel(job.id)
    assert store.status(job.id).state is State.CANCELLED
    assert store.pending() == []
    assert store.claim(job.id, "engine") is None


def test_a_running_job_can_be_cancelled_and_its_result_is_dropped(store: JobStore, submit: Submit) -> None:
    job = submit()
    claim = claimed(store, job)
    part = claim.workspace / "x"
    store.cancel(job.id)
    assert not claim.heartbeat()
    assert not part.exists()
    assert not claim.fail(FAILURE)
    assert store.status(job.id).state is State.CANCELLED


def test_a_job_that_ended_is_deleted_and_stays_deleted(store: JobStore, submit: Submit) -> None:
    job = submit()
    publish(claimed(store, job))
    path, _, _ = store.open_result(job.id)
    for _ in range(3):
        store.cancel(job.id)
        assert not path.exists()
        with pytest.raises(JobDeleted):
            store.status(job.id)
        with pytest.raises(JobDeleted):
            store.open_result(job.id)


def test_a_job_cancelled_twice_is_cancelled(store: JobStore, submit: Submit) -> None:
    job = submit()
    store.cancel(job.id)
    store.cancel(job.id)
    assert store.status(job.id).state is State.CANCELLED


@pytest.mark.parametrize("job_id", [GUID, "", ".", "..", "../../etc/passwd", "a" * 4096, "A" * 36, "\0", GUID.upper()])
def test_an_id_that_is_no_jobs_is_unknown_to_every_verb(store: JobStore, job_id: str) -> None:
    for verb in (store.status, store.open_result, store.cancel):
        with pytest.raises(UnknownJob):
            verb(job_id)
    assert store.claim(job_id, "engine") is None


def test_engines_that_announce_themselves_are_alive_until_they_withdraw(store: JobStore) -> None:
    store.announce("one")
    store.announce("two")
    store.withdraw("one")
    store.withdraw("one")
    assert store.engines() == ["two"]


def test_resize_is_read_back_as_it_was_asked(store: JobStore) -> None:
    ask = Resize.model_validate({"width": "20", "fit": "cover", "background": "f80", "enlarge": "true"})
    with store.begin() as submission:
        submission.picture.write(b"\x89PNG\r\n\x1a\n")
        job = submission.commit(filename=None, resize=ask)
    assert store.status(job.id).job.resize == ask
    assert ask.background == "#ff8800ff"
