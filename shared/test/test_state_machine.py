"""The backends under every order of events that hypothesis thinks of: engines, crashes, clients, expiry, lost markers.

Three engines and an API share a backend; a crash leaves it as it is at that moment. After each step the promises of
`ports` are checked, and at the end every job that was accepted has to reach its one outcome. What only a volume can
suffer is in a machine of its own. FAULTS=full tries more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from img_contract.errors import JobDeleted, StoreError, UnknownJob
from img_contract.job.job import Job, new_job_id
from img_contract.job.outcome import Facts, Failure, FailureCode, Outcome, State
from img_contract.job.query import JobQuery
from img_contract.job.resize import Resize
from img_contract.memory import MemoryStore
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import Claim, Jobs, LocalFiles, Work
from img_contract.testing import ManualClock, write_result
from img_contract.volume.cleanup import ADOPTION_SECONDS, LEFTOVER_SECONDS, SHARDS, Cleanup
from img_contract.volume.layout import Layout
from img_contract.volume.queue import BUSY_POLL_SECONDS, IDLE_POLL_SECONDS, VolumeWork
from img_contract.volume.store import VolumeJobs

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

JPEG_HEAD: Final = b"\xff\xd8\xff\xe0" + bytes(60)
LEASE_SECONDS: Final = 30.0
RETENTION_SECONDS: Final = 24 * 3600.0
ATTEMPTS: Final = 3
ENGINES: Final = 3
MEMORY: Final = Path("/dev/shm")  # noqa: S108  a real folder, where fsync takes no time
FULL: Final = os.environ.get("FAULTS") == "full"
FACTS: Final = Facts(width=80, height=60)

number = st.integers(min_value=0, max_value=2**16)
"""Which one of several, modulo how many there are."""
engine = st.integers(min_value=0, max_value=ENGINES - 1)


@dataclass(eq=False)
class Known:
    """What the clients know of a job."""

    job: Job
    outcome: Outcome | None = None
    deleted: bool = False
    expired: bool = False

    @property
    def gone(self) -> bool:
        return self.deleted or self.expired


@dataclass(eq=False)
class Held:
    """A claim in the hands of an engine that lives, or is frozen."""

    known: Known
    claim: Claim
    engine: int
    files: LocalFiles
    cleaning: ExitStack = field(repr=False)


class Machine(RuleBasedStateMachine):
    """What can happen to any backend, by its ports alone."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.guids = 0
        self.chance = mock.patch("uuid.uuid4", self.guid)  # hypothesis wants the same steps to have the same effect
        self.chance.start()
        self.api = self.new_api()
        self.engines = [self.new_engine(number) for number in range(ENGINES)]
        self.jobs: list[Known] = []
        self.held: list[Held] = []

    def guid(self) -> uuid.UUID:
        self.guids += 1
        return uuid.UUID(
            bytes=hashlib.md5(bytes([self.guids % 256, self.guids // 256]), usedforsecurity=False).digest()
        )

    def new_api(self) -> Jobs:
        raise NotImplementedError

    def new_engine(self, by: int) -> Work:
        raise NotImplementedError

    def let_expire(self, known: Known) -> None:
        raise NotImplementedError

    def clean_all(self) -> None:
        """Do all the housekeeping at once."""

    # The API

    @initialize(several=st.integers(min_value=1, max_value=3))
    def jobs_are_waiting(self, several: int) -> None:
        for _ in range(several):
            self.submit()

    @rule()
    def submit(self) -> None:
        with self.api.begin() as submission:
            submission.picture.write(JPEG_HEAD)
            self.jobs.append(Known(submission.commit(filename=None, resize=Resize(width=8))))

    @precondition(lambda self: self.jobs)
    @rule(which=number)
    def cancel(self, which: int) -> None:
        known = self.jobs[which % len(self.jobs)]
        try:
            self.api.cancel(known.job.id)
        except UnknownJob:
            assert known.expired
            return
        assert not known.expired
        if known.outcome is not None and known.outcome.state is not State.CANCELLED:
            known.deleted = True
        if not known.deleted:
            assert self.api.status(known.job.id).state is State.CANCELLED

    # The engines

    def hold(self, claim: Claim | None, by: int) -> None:
        if claim is None:
            return
        known = next(known for known in self.jobs if known.job.id == claim.job.id)
        assert known.outcome is None, "a job that had ended was claimed"
        assert not known.gone, "a job that was gone was claimed"
        assert claim.attempt == self.api.status(known.job.id).attempt <= ATTEMPTS
        cleaning = ExitStack()
        self.held.append(Held(known, claim, by, cleaning.enter_context(claim.files()), cleaning))

    @rule(by=engine)
    def take(self, by: int) -> None:
        self.clock.advance(IDLE_POLL_SECONDS)
        self.hold(self.engines[by].next(0), by)

    @precondition(lambda self: self.held)
    @rule(which=number)
    def cancel_what_is_worked_on(self, which: int) -> None:
        known = self.held[which % len(self.held)].known
        if not known.gone:
            self.cancel(self.jobs.index(known))

    @precondition(lambda self: self.held)
    @rule(by=engine)
    def leases_end_and_another_engine_takes_over(self, by: int) -> None:
        """Those whose claims it takes over are frozen: they know nothing of it, and may go on later."""
        self.take(by)  # a lease runs from the first look
        self.clock.advance(LEASE_SECONDS + 1)
        self.take(by)

    @rule(by=engine)
    def a_child_dies(self, by: int) -> None:
        """A whole attempt that leads to nothing: three of them end a job, and three in one step would be rare."""
        before = len(self.held)
        self.take(by)
        if len(self.held) > before:
            held = self.drop(before)
            held.claim.abandon("the child died")
            self.close(held)

    @rule()
    def claims_are_kept_alive(self) -> None:
        for held in list(self.held):
            if not held.claim.heartbeat():
                self.held.remove(held)
                self.close(held)

    @precondition(lambda self: self.held)
    @rule(which=number)
    def heartbeat(self, which: int) -> None:
        held = self.held[which % len(self.held)]
        holds = held.claim.heartbeat()
        ended = held.known.outcome is not None or held.known.gone
        assert holds == (not ended and self.api.status(held.known.job.id).attempt == held.claim.attempt)

    def drop(self, which: int) -> Held:
        return self.held.pop(which % len(self.held))

    def close(self, held: Held) -> None:
        held.cleaning.close()
        held.claim.close()

    def stands(self, held: Held, end: bool, state: State) -> None:
        """What `publish` and `fail` return is so."""
        assert end == (held.known.outcome is None and not held.known.gone)
        if end:
            assert self.api.status(held.known.job.id).state is state

    def published(self, held: Held) -> bool:
        """Publish a result as an engine does, if there is a place for it: not if the job was cancelled or is gone."""
        try:
            result = write_result(held.files, os.urandom(16))
        except FileNotFoundError:
            assert held.known.outcome is not None or held.known.gone
            return False
        end = held.claim.publish([result], FACTS, ())
        self.stands(held, end, State.DONE)
        return end

    @precondition(lambda self: self.held)
    @rule(which=number)
    def publish(self, which: int) -> None:
        held = self.drop(which)
        self.published(held)
        self.close(held)

    @rule(by=engine)
    def engine_dies_and_another_takes_its_place(self, by: int) -> None:
        for held in self.held:
            if held.engine == by:
                held.cleaning.close()  # but the claim stays as it is
        self.held = [held for held in self.held if held.engine != by]
        self.engines[by] = self.new_engine(by)

    @precondition(lambda self: self.held)
    @rule(which=number)
    def fail(self, which: int) -> None:
        held = self.drop(which)
        try:
            end = held.claim.fail(Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken"))
        except StoreError:
            assert held.known.expired
        else:
            self.stands(held, end, State.FAILED)
        self.close(held)

    @precondition(lambda self: self.held)
    @rule(which=number, looks=st.booleans())
    def abandon(self, which: int, looks: bool) -> None:
        """An engine looks whether the claim is still its own, and may be frozen between look and deed."""
        held = self.drop(which)
        if not looks or held.claim.heartbeat():
            try:
                held.claim.abandon("the child died")
            except StoreError:
                assert held.known.expired
        self.close(held)

    @precondition(lambda self: self.held)
    @rule(which=number, looks=st.booleans())
    def release(self, which: int, looks: bool) -> None:
        held = self.drop(which)
        if not looks or held.claim.heartbeat():
            before = 0 if held.known.gone else self.api.status(held.known.job.id).attempt
            held.claim.release()
            if held.known.outcome is None and not held.known.gone and before == held.claim.attempt:
                assert self.api.status(held.known.job.id).attempt < before, "a released claim counts"
        self.close(held)

    # Time

    @rule(seconds=st.sampled_from([1.0, BUSY_POLL_SECONDS, LEASE_SECONDS / 2, LEASE_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(by=engine, times=st.sampled_from([1, 7, SHARDS]))
    def maintain(self, by: int, times: int) -> None:
        for _ in range(times):
            self.engines[by].maintain()
            self.clock.advance(0.1)

    @precondition(lambda self: any(known.outcome for known in self.jobs))
    @rule(which=number)
    def expire(self, which: int) -> None:
        ended = [known for known in self.jobs if known.outcome is not None]
        known = ended[which % len(ended)]
        if not known.expired:
            self.let_expire(known)
            known.expired = True

    # What holds at any time

    @invariant()
    def promises_are_kept(self) -> None:
        for known in self.jobs:
            try:
                status = self.api.status(known.job.id)
            except JobDeleted:
                assert known.deleted
                continue
            except UnknownJob:
                assert known.expired
                continue
            assert not known.gone
            if known.outcome is None:
                known.outcome = status.outcome
            assert status.outcome == known.outcome, "an outcome changed"
            assert status.attempt <= ATTEMPTS
            assert self.api.wait_ended(known.job.id, 0) == (known.outcome is not None)
            if status.state is State.DONE:
                result = self.api.open_result(status)
                with result.file:
                    assert hashlib.sha256(result.file.read()).hexdigest() == result.output.sha256

    def lists_are_true(self) -> None:
        """What is there is listed, and as it is."""
        there = {known.job.id: known.outcome.state for known in self.jobs if known.outcome and not known.gone}
        listed = {status.id: status.state for status in self.api.list(JobQuery(), 200).jobs}
        assert listed.items() == there.items()
        for state in (State.DONE, State.FAILED, State.CANCELLED):
            ended = [status.id for status in self.api.list(JobQuery(state), 200).jobs]
            assert sorted(ended) == sorted(job_id for job_id in there if there[job_id] is state)

    def engine_goes_on(self) -> bool:
        """Do one job; return whether there was one."""
        self.take(0)
        worked = bool(self.held)
        while self.held:
            self.publish(0)
        return worked

    def teardown(self) -> None:
        """Engines go on until nothing is left to do: then every job has its outcome."""
        try:
            for held in self.held:
                held.cleaning.close()
            self.held = []
            self.engines[0] = self.new_engine(0)
            waiting = [known for known in self.jobs if known.outcome is None and not known.gone]
            for _ in range(ATTEMPTS + 2):
                self.clean_all()
                self.clock.advance(BUSY_POLL_SECONDS)
                while any(known.outcome is None for known in waiting) and self.engine_goes_on():
                    self.promises_are_kept()
                self.clock.advance(LEASE_SECONDS + 1)
                self.promises_are_kept()
            assert [known.job.id for known in waiting if known.outcome is None] == [], "accepted, and never ended"
            self.clean_all()
            self.clock.advance(BUSY_POLL_SECONDS)
            assert not self.engine_goes_on()
            assert self.api.capacity().pending == 0
            self.lists_are_true()
        finally:
            self.chance.stop()


class MemoryMachine(Machine):
    def new_api(self) -> Jobs:
        self.store = MemoryStore(lease_seconds=LEASE_SECONDS, attempts=ATTEMPTS, clock=self.clock)
        return self.store

    def new_engine(self, by: int) -> Work:
        return self.store.work(f"engine-{by}")

    def let_expire(self, known: Known) -> None:
        self.store.expire(known.job.id)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


class VolumeMachine(Machine):
    """And what happens on a volume: deaths between two files, lost markers, strange names."""

    def new_api(self) -> Jobs:
        self.root = Path(tempfile.mkdtemp(prefix="state-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.layout = Layout(self.root)
        self.layout.prepare()
        return VolumeJobs(self.layout, MemoryNotifier(capacity=1), RETENTION_SECONDS)

    def new_engine(self, by: int) -> Work:
        return VolumeWork(
            self.layout,
            MemoryNotifier(),
            f"engine-{by}",
            lease_seconds=LEASE_SECONDS,
            attempts=ATTEMPTS,
            retention_seconds=RETENTION_SECONDS,
            clock=self.clock,
        )

    def volume_engine(self, by: int) -> VolumeWork:
        found = self.engines[by]
        assert isinstance(found, VolumeWork)
        return found

    def folder(self, known: Known) -> Path:
        return self.layout.folder(known.job.id)

    def marker(self, known: Known) -> Path:
        return self.layout.pending / known.job.id

    def clean_all(self) -> None:
        for known in self.jobs:
            if known.outcome is None and not known.gone:
                age(self.folder(known), ADOPTION_SECONDS + 1)
        for marker in self.layout.pending.iterdir():
            if not self.layout.exists(marker.name):
                age(marker, LEFTOVER_SECONDS + 1)
        self.full_cleanup()

    def full_cleanup(self) -> None:
        cleanup = Cleanup(self.layout, RETENTION_SECONDS)
        for _ in range(SHARDS):
            cleanup.run_batch()

    def let_expire(self, known: Known) -> None:
        age(self.folder(known) / "outcome.json", RETENTION_SECONDS + 1)
        self.full_cleanup()

    @rule(before=st.sampled_from(["the rename", "the marker"]))
    def api_dies(self, before: str) -> None:
        if before == "the marker":
            self.submit()
            self.marker(self.jobs[-1]).unlink()
            return
        with self.api.begin() as submission:
            submission.picture.write(JPEG_HEAD)
            submission._cleaning.pop_all()  # type: ignore[attr-defined]  # nobody cleans up after the dead

    @precondition(lambda self: self.jobs)
    @rule(by=engine, which=number)
    def claim_what_was_notified(self, by: int, which: int) -> None:
        self.hold(self.volume_engine(by).claim(self.jobs[which % len(self.jobs)].job.id), by)

    @rule(by=engine)
    def poll(self, by: int) -> None:
        found = set(self.volume_engine(by).pending())
        ended = [known for known in self.jobs if known.outcome is not None or known.gone]
        assert not {known.job.id for known in ended} & found
        # A marker that a dead engine left goes now or, where its job expired before anyone looked, after an hour.
        assert not [known for known in ended if not known.expired and self.marker(known).exists()]

    @precondition(lambda self: self.held)
    @rule(which=number)
    def publish_and_die_before_the_marker_is_gone(self, which: int) -> None:
        held = self.drop(which)
        if self.published(held):
            self.marker(held.known).touch()
        self.close(held)

    @precondition(lambda self: self.held)
    @rule(which=number, named=st.booleans())
    def engine_dies_before_the_outcome(self, which: int, named: bool) -> None:
        held = self.drop(which)
        try:
            result = write_result(held.files, b"never published")
        except FileNotFoundError:
            return
        if named:
            result.path.rename(result.path.with_name(f"{held.claim.attempt}-{result.name}"))

    @precondition(lambda self: self.jobs)
    @rule(which=number)
    def a_job_waits_for_days(self, which: int) -> None:
        known = self.jobs[which % len(self.jobs)]
        if not known.expired:
            age(self.folder(known), RETENTION_SECONDS * 3)
            self.full_cleanup()
            assert known.outcome is not None or self.marker(known).exists(), "a lost marker was not given back"

    @rule(which=number, every=st.booleans())
    def markers_are_lost(self, which: int, every: bool) -> None:
        if every:
            shutil.rmtree(self.layout.pending)
            self.layout.pending.mkdir()
        elif self.jobs:
            self.marker(self.jobs[which % len(self.jobs)]).unlink(missing_ok=True)

    @rule(
        where=st.sampled_from(["incoming", "jobs", "jobs/00", "pending", "engines", "."]),
        name=st.sampled_from([".nfs0001", "lost+found", "x" * 200, "a guid"]),
        folder=st.booleans(),
        old=st.booleans(),
    )
    def something_strange_is_left(self, where: str, name: str, folder: bool, old: bool) -> None:
        if name == "a guid":
            name = f"00{new_job_id()[2:]}"
        path = self.root / where / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.mkdir() if folder else path.write_bytes(b"strange")
        if old:
            age(path, LEFTOVER_SECONDS + 1)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)


class ClusterMachine(Machine):
    """And what happens between a store and a broker: deaths between two requests, messages lost or sent twice."""

    def new_api(self) -> Jobs:
        from img_cluster.jobs import ClusterJobs
        from img_cluster.memory import MemoryBroker, MemoryBucket, NoNotices
        from img_cluster.objects import JobsStore

        self.bucket = MemoryBucket(self.clock)
        self.store = JobsStore(self.bucket)
        self.broker = MemoryBroker(self.clock, LEASE_SECONDS)
        return ClusterJobs(self.store, self.broker, NoNotices(), RETENTION_SECONDS)

    def new_engine(self, by: int) -> Work:
        from img_cluster.memory import MemoryWork

        return MemoryWork(self.store, self.broker, f"engine-{by}", self.clock, ATTEMPTS)

    def let_expire(self, known: Known) -> None:
        from img_cluster.cleanup import Cleanup

        self.bucket.age(f"{self.store.folder(known.job.id)}/outcome.json", RETENTION_SECONDS + 1)
        Cleanup(self.store, RETENTION_SECONDS).shard(int(known.job.id[:2], 16))

    def clean_all(self) -> None:
        """Reconcile, as an engine does within three minutes."""
        from img_cluster.reconciliation import Reconciliation

        self.clock.advance(LEASE_SECONDS * 5)
        reconciliation = Reconciliation(self.store, self.broker, LEASE_SECONDS * 4, LEASE_SECONDS, lambda _: False)
        reconciliation.begin()
        while reconciliation.step():
            pass

    @rule()
    def the_queue_is_purged(self) -> None:
        self.broker.purge()

    @rule()
    def reconcile(self) -> None:
        self.clean_all()

    @precondition(lambda self: self.jobs)
    @rule(which=number, again=st.booleans())
    def a_job_is_sent_twice(self, which: int, again: bool) -> None:
        job_id = self.jobs[which % len(self.jobs)].job.id
        if again:
            self.broker.send_again(job_id)
        else:
            self.broker.send(job_id)

    @rule(before=st.sampled_from(["the record", "the message"]))
    def api_dies(self, before: str) -> None:
        from img_cluster.objects import marker

        self.submit()
        self.broker.purge()
        if before == "the record":
            known = self.jobs.pop()
            self.bucket.delete([f"{self.store.folder(known.job.id)}/job.json"])
            assert self.bucket.exists(marker(known.job.id, known.job.submitted_at))

    @precondition(lambda self: self.held)
    @rule(which=number)
    def publish_and_die_before_the_marker_is_gone(self, which: int) -> None:
        from img_cluster.objects import marker

        held = self.drop(which)
        if self.published(held):
            self.bucket.put(marker(held.known.job.id, held.known.job.submitted_at), b"")
        held.cleaning.close()  # and its message comes again

    @rule(by=engine)
    def engine_stops(self, by: int) -> None:
        """In order: what was fetched ahead is given back, and what runs ends."""
        stopping = self.engines[by]
        stopping.stop_taking()
        assert stopping.next(0) is None
        for held in [held for held in self.held if held.engine == by]:
            self.held.remove(held)
            self.published(held)
            self.close(held)
        self.engines[by] = self.new_engine(by)


def bounded(machine: type[Machine], examples: int) -> Any:
    case = machine.TestCase
    case.settings = settings(
        max_examples=1500 if FULL else examples,
        stateful_step_count=60 if FULL else 40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return case


TestMemory = bounded(MemoryMachine, 60)
TestVolume = bounded(VolumeMachine, 40)
if find_spec("img_cluster"):
    TestCluster = bounded(ClusterMachine, 60)
