"""A store on a real folder, and jobs to put in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from img_contract.job.job import Job
from img_contract.job.resize import Resize
from img_contract.volume.store import VolumeStore

JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(60)


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    """A prepared store, whose leases are short enough to wait for."""
    made = VolumeStore(tmp_path / "volume", lease_seconds=0.2)
    made.prepare()
    return made


@pytest.fixture
def submit(store: VolumeStore) -> Callable[[], Job]:
    """Submit one job."""

    def submitted() -> Job:
        with store.begin() as submission:
            submission.picture.write(JPEG_HEAD)
            return submission.commit(filename="photo.jpg", resize=Resize(width=8))

    return submitted
