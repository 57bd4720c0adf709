"""All backends behind one fixture, and a volume for what only it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from img_contract.job.job import Job
from img_contract.job.resize import Resize
from img_contract.memory import MemoryStore
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import Claim, Jobs, Work
from img_contract.testing import ManualClock
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs

JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(60)
LEASE_SECONDS = 100.0
VERSION = "1.2.3"


@dataclass
class Backend:
    """A backend with a clock that stands still."""

    jobs: Jobs
    new_engine: Callable[[str], Work]
    clock: ManualClock

    def __post_init__(self) -> None:
        self.engine = self.new_engine("engine")

    def submit(self, width: int = 8, owner: str | None = None) -> Job:
        with self.jobs.begin() as submission:
            submission.picture.write(JPEG_HEAD)
            return submission.commit(filename="photo.jpg", resize=Resize(width=width), owner=owner)

    def take(self, engine: Work | None = None) -> Claim | None:
        """Ask for work as an engine does, for less than a lease."""
        for _ in range(20):
            if claim := (engine or self.engine).next(0):
                return claim
            self.clock.advance(1.0)
        return None

    def claimed(self, engine: Work | None = None) -> Claim:
        claim = self.take(engine)
        assert claim is not None, "no job could be claimed"
        return claim

    def let_lease_end(self, engine: Work) -> None:
        """Let a lease pass without a heartbeat, from the first time that this engine looks at the claim."""
        self.clock.advance(10.0)
        assert engine.next(0) is None
        self.clock.advance(LEASE_SECONDS + 1)


BACKENDS: Final[list[Any]] = ["volume", "memory"]
if find_spec("img_cluster"):
    BACKENDS += ["cluster", *(pytest.param(name, marks=[pytest.mark.cluster]) for name in ("object_store", "ceph"))]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each of the backends."""
    made: Backend = request.getfixturevalue(f"{request.param}_backend")
    return made


@pytest.fixture
def memory_backend() -> Backend:
    clock = ManualClock()
    store = MemoryStore(lease_seconds=LEASE_SECONDS, clock=clock)
    return Backend(store, lambda name: store.work(name, VERSION), clock)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A prepared volume."""
    made = Layout(tmp_path / "volume")
    made.prepare()
    return made


@pytest.fixture
def volume_backend(layout: Layout) -> Backend:
    clock, notifier = ManualClock(), MemoryNotifier()

    def engine(name: str) -> VolumeWork:
        return VolumeWork(layout, notifier, name, lease_seconds=LEASE_SECONDS, version=VERSION, clock=clock)

    return Backend(VolumeJobs(layout, notifier, clock=clock), engine, clock)


@pytest.fixture
def cluster_backend() -> Backend:
    """A store and a broker in memory, and all that is real between them."""
    from img_cluster.memory import MemoryBucket

    clock = ManualClock()
    return _over(MemoryBucket(clock), clock)


@pytest.fixture
def object_store_backend(object_store: Any) -> Backend:
    """The same over a real object store, from img_testing."""
    return _over(object_store, ManualClock())


@pytest.fixture
def ceph_backend(ceph_bucket: Any) -> Backend:
    """The same over Ceph, where it is asked for; from img_testing."""
    return _over(ceph_bucket, ManualClock())


def _over(bucket: Any, clock: ManualClock) -> Backend:
    from img_cluster.jobs import ClusterJobs
    from img_cluster.memory import MemoryBroker, MemoryWork, NoNotices
    from img_cluster.objects import JobsStore

    store, broker = JobsStore(bucket), MemoryBroker(clock, LEASE_SECONDS)
    return Backend(
        ClusterJobs(store, broker, NoNotices(), clock=clock),
        lambda name: MemoryWork(store, broker, name, clock, version=VERSION),
        clock,
    )
