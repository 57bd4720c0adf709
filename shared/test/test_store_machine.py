"""The volume under every order of events that hypothesis thinks of: engines, crashes, clients, expiry, lost markers.

Three engines and an API share a folder; a crash leaves it as it is at that moment. After each step the promises of
`store.py` are checked, and at the end every job that was accepted has to reach its one outcome. FAULTS=full tries more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from img_contract.errors import JobDeleted, StoreError, UnknownJob
from img_contract.job.job import Job, new_job_id
from img_contract.job.outcome import Facts, Failure, FailureCode, Outcome, ResultFile, State
from img_contract.job.resize import Resize
from img_contract.ports import Claim
from img_contract.volume.claims import LeaseWatch, claims_in
from img_contract.volume.cleanup import ADOPTION_SECONDS, LEFTOVER_SECONDS, SHARDS
from img_contract.volume.store import VolumeStore

pytestmark = pytest.mark.python_independent

JPEG_HEAD: Final = b"\xff\xd8\xff\xe0" + bytes(60)
LEASE_SECONDS: Final = 30.0
ATTEMPTS: Final = 3
ENGINES: Final = 3
MEMORY: Final = Path("/dev/shm")  # noqa: S108  a real folder, where fsync takes no time
FULL: Final = os.environ.get("FAULTS") == "full"

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


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="store-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = 0.0
        self.guids = 0
        self.chance = mock.patch("uuid.uuid4", self.guid)  # hypothesis wants the same steps to have the same effect
        self.chance.start()
        self.api = self.new_store()
        self.api.prepare()
        self.engines = [self.new_store() for _ in range(ENGINES)]
        self.jobs: list[Known] = []
        self.held: list[Held] = []

    def guid(self) -> uuid.UUID:
        self.guids += 1
        return uuid.UUID(
            bytes=hashlib.md5(bytes([self.guids % 256, self.guids // 256]), usedforsecurity=False).digest()
        )

    def new_store(self) -> VolumeStore:
        store = VolumeStore(self.root, lease_seconds=LEASE_SECONDS, attempts=ATTEMPTS)
        store._watch = LeaseWatch(LEASE_SECONDS, lambda: self.clock)
        return store

    def folder(self, known: Known) -> Path:
        return self.api.folder(known.job.id)

    def marker(self, known: Known) -> Path:
        return self.root / "pending" / known.job.id

    def full_upkeep(self, store: VolumeStore) -> None:
        for _ in range(SHARDS):
            store.upkeep()

    def attempts(self, known: Known) -> int:
        return max(claims_in(os.listdir(self.folder(known))), default=0)

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

    @rule(before=st.sampled_from(["the rename", "the marker"]))
    def api_dies(self, before: str) -> None:
        if before == "the marker":
            self.submit()
            self.marker(self.jobs[-1]).unlink()
            return
        with self.api.begin() as submission:
            submission.picture.write(JPEG_HEAD)
            submission._cleaning.pop_all()  # nobody tidies up after the dead

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

    def take(self, known: Known, by: int) -> None:
        ended = known.outcome is not None or known.gone
        claim = self.engines[by].claim(known.job.id, f"engine-{by}")
        if claim is None:
            return
        assert not ended, "a job that had ended was claimed"
        assert claim.attempt == self.attempts(known) <= ATTEMPTS
        self.held.append(Held(known, claim, by))

    @rule(by=engine, which=number)
    def sweep_and_claim(self, by: int, which: int) -> None:
        found = self.engines[by].pending()
        ours = {known.job.id: known for known in self.jobs}
        ended = [known for known in self.jobs if known.outcome is not None or known.gone]
        assert not {known.job.id for known in ended} & set(found)
        # A marker that a dead engine left goes now or, where its job expired before anyone looked, after an hour.
        assert not [known for known in ended if not known.expired and self.marker(known).exists()]
        if not found:
            return
        job_id = sorted(found)[which % len(found)]  # markers of the same moment come in any order
        if job_id in ours:
            self.take(ours[job_id], by)
        else:
            assert self.engines[by].claim(job_id, f"engine-{by}") is None, "a stranger's folder was claimed"

    @precondition(lambda self: self.jobs)
    @rule(by=engine, which=number)
    def claim_what_was_notified(self, by: int, which: int) -> None:
        self.take(self.jobs[which % len(self.jobs)], by)

    @precondition(lambda self: self.jobs)
    @rule(by=engine, which=number)
    def a_child_dies(self, by: int, which: int) -> None:
        """A whole attempt that leads to nothing: three of them end a job, and three in one step would be rare."""
        known = self.jobs[which % len(self.jobs)]
        self.take(known, by)
        if self.held and self.held[-1].known is known:
            self.held.pop().claim.abandon("the child died")

    @rule()
    def claims_are_kept_alive(self) -> None:
        for held in list(self.held):
            if not held.claim.heartbeat():
                self.held.remove(held)

    @precondition(lambda self: self.held)
    @rule(which=number)
    def heartbeat(self, which: int) -> None:
        held = self.held[which % len(self.held)]
        holds = held.claim.heartbeat()
        current = held.known.outcome is None and not held.known.gone and self.attempts(held.known) == held.claim.attempt
        assert holds == current

    def drop(self, which: int) -> Held:
        return self.held.pop(which % len(self.held))

    def rendered(self, held: Held) -> ResultFile | None:
        """Write a result as a child does; None if there is no place for it, since the job was cancelled or is gone."""
        content = os.urandom(16)
        path = held.claim.workspace / f".{held.claim.attempt}.engine-{held.engine}.part"
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            assert held.known.outcome is not None or held.known.gone
            return None
        sha256 = hashlib.sha256(content).hexdigest()
        return ResultFile(path, "image.jpg", "image/jpeg", 8, 6, 1, len(content), sha256)

    def stands(self, held: Held, end: bool, state: State) -> None:
        """What `publish` and `fail` say is so."""
        assert end == (held.known.outcome is None and not held.known.gone)
        if end:
            assert self.api.status(held.known.job.id).state is state

    @precondition(lambda self: self.held)
    @rule(which=number, marker_stays=st.booleans())
    def publish(self, which: int, marker_stays: bool) -> None:
        held = self.drop(which)
        rendered = self.rendered(held)
        if rendered is None:
            return
        end = held.claim.publish([rendered], Facts(width=80, height=60), ())
        self.stands(held, end, State.DONE)
        if end and marker_stays:  # the engine dies before it takes the marker
            self.marker(held.known).touch()

    @precondition(lambda self: self.held)
    @rule(which=number, named=st.booleans())
    def engine_dies_before_the_outcome(self, which: int, named: bool) -> None:
        held = self.drop(which)
        rendered = self.rendered(held)
        if rendered is not None and named:
            rendered.path.rename(held.claim.workspace / f"{held.claim.attempt}-{rendered.name}")

    @rule(by=engine)
    def engine_dies_and_another_takes_its_place(self, by: int) -> None:
        self.held = [held for held in self.held if held.engine != by]
        self.engines[by] = self.new_store()

    @precondition(lambda self: self.held)
    @rule(which=number)
    def fail(self, which: int) -> None:
        held = self.drop(which)
        try:
            end = held.claim.fail(Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken"))
        except StoreError:
            assert held.known.expired
            return
        self.stands(held, end, State.FAILED)

    @precondition(lambda self: self.held)
    @rule(which=number, looks=st.booleans())
    def abandon(self, which: int, looks: bool) -> None:
        """An engine looks whether the claim is still its own, and may be frozen between look and deed."""
        held = self.drop(which)
        if looks and not held.claim.heartbeat():
            return
        try:
            held.claim.abandon("the child died")
        except StoreError:
            assert held.known.expired

    @precondition(lambda self: self.held)
    @rule(which=number, looks=st.booleans())
    def release(self, which: int, looks: bool) -> None:
        held = self.drop(which)
        if looks and not held.claim.heartbeat():
            return
        before = 0 if held.known.expired else self.attempts(held.known)
        held.claim.release()
        if not held.known.gone and before == held.claim.attempt:
            assert self.attempts(held.known) < before, "a released claim counts"

    # Time and mishap

    @rule(looks=st.booleans(), seconds=st.sampled_from([LEASE_SECONDS / 2, LEASE_SECONDS + 1]))
    def time_passes(self, looks: bool, seconds: float) -> None:
        if looks:  # a lease runs from the first look
            for store in self.engines:
                store.pending()
        self.clock += seconds

    @rule(by=engine, portions=st.sampled_from([1, 7, SHARDS]))
    def upkeep(self, by: int, portions: int) -> None:
        for _ in range(portions):
            self.engines[by].upkeep()

    @precondition(lambda self: any(known.outcome for known in self.jobs))
    @rule(by=engine, which=number)
    def expire(self, by: int, which: int) -> None:
        ended = [known for known in self.jobs if known.outcome is not None]
        known = ended[which % len(ended)]
        if not known.expired:
            age(self.folder(known) / "outcome.json", self.api.retention_seconds + 1)
            self.full_upkeep(self.engines[by])
            known.expired = True

    @precondition(lambda self: self.jobs)
    @rule(by=engine, which=number)
    def a_job_waits_for_days(self, by: int, which: int) -> None:
        known = self.jobs[which % len(self.jobs)]
        if not known.expired:
            age(self.folder(known), self.api.retention_seconds * 3)
            self.full_upkeep(self.engines[by])
            assert known.outcome is not None or self.marker(known).exists(), "a lost marker was not given back"

    @rule(which=number, every=st.booleans())
    def markers_are_lost(self, which: int, every: bool) -> None:
        if every:
            shutil.rmtree(self.root / "pending")
            (self.root / "pending").mkdir()
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
            assert self.attempts(known) <= ATTEMPTS
            assert self.api.ended(known.job.id) == (known.outcome is not None)
            if status.state is State.DONE:
                path, output, _ = self.api.open_result(known.job.id)
                assert hashlib.sha256(path.read_bytes()).hexdigest() == output.sha256

    def teardown(self) -> None:
        """Engines go on until nothing is left to do: then every job has its outcome."""
        try:
            self.held = []
            store = self.engines[0]
            waiting = [known for known in self.jobs if known.outcome is None and not known.gone]
            for _ in range(ATTEMPTS + 2):
                for known in waiting:
                    if known.outcome is None:
                        age(self.folder(known), ADOPTION_SECONDS + 1)
                self.full_upkeep(store)
                store.pending()
                self.clock += LEASE_SECONDS + 1
                for job_id in store.pending():
                    known = next((known for known in waiting if known.job.id == job_id), None)
                    if known is not None:
                        self.take(known, 0)
                    else:
                        assert store.claim(job_id, "engine-0") is None, "a stranger's folder was claimed"
                while self.held:
                    self.publish(0, marker_stays=False)
                self.promises_are_kept()
            assert [known.job.id for known in waiting if known.outcome is None] == [], "accepted, and never ended"
            assert store.pending() == []
            for marker in (self.root / "pending").iterdir():
                age(marker, LEFTOVER_SECONDS + 1)
            self.full_upkeep(store)
            assert store.capacity().pending == 0
        finally:
            self.chance.stop()
            shutil.rmtree(self.root, ignore_errors=True)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=1500 if FULL else 120,
    stateful_step_count=60 if FULL else 40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
