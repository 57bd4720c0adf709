"""The disk is full, fails, or cannot be written: no false 202, no attempt charged, and all is well when it is well."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from img_client import Unavailable
from img_contract.config import Config
from img_contract.failpoints import VARIABLE, arm
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import HANG_SECONDS, until
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_rest.app import create_app
from img_testing.service import Service
from img_testing.witness import TINY, Row, Witness, end, in_parallel, picture

pytestmark = pytest.mark.faults

FAULTS = (("storage.write", "ENOSPC", 507), ("storage.fsync", "EIO", 503), ("storage.rename", "EIO", 503))


# A failpoint at the n-th call


@pytest.fixture
def failing() -> Iterator[Callable[[str], None]]:
    """Arm this process; for what runs in it."""
    yield lambda spec: arm({VARIABLE: spec})
    arm({})


@pytest.mark.parametrize(("point", "error", "refusal"), FAULTS)
def test_an_upload_that_cannot_be_stored_is_refused_at_whichever_call(
    point: str, error: str, refusal: int, tmp_path: Path, failing: Callable[[str], None], row: Callable[[str], Row]
) -> None:
    """In this process: the application on a real volume."""
    config = Config.model_validate({"volume": tmp_path, "limits": {"free_bytes": 0}})
    layout = Layout(config.volume)
    layout.prepare()
    client = create_app(config, VolumeJobs(layout, MemoryNotifier())).test_client()
    figures = row(f"img-rest: {error} at the n-th {point.partition('.')[2]}, every n")

    def post() -> Any:
        form = {"file": (io.BytesIO(TINY), "p.png"), "watermark": (io.BytesIO(TINY), "w.png"), "width": "16"}
        return client.post("/resize", data=form, headers={"Idempotency-Key": '"a-key-of-this-test"'})

    for n in count(1):
        failing(f"{point}#{n}={error}")
        answer = post()
        failing("")
        if answer.status_code == 202:
            break
        assert (answer.status_code, answer.content_type) == (refusal, "application/problem+json"), (n, answer.text)
        assert answer.headers["Retry-After"]
        assert layout.markers() == []
        assert [*tmp_path.glob("incoming/*"), *tmp_path.glob("jobs/??/*")] == [], n
        figures.add(rounds=1)
    assert n > 2, "the fault was never met"
    assert [marker.name for marker in layout.markers()] == [answer.get_json()["id"]]
    figures.add(jobs=1)


def engine_at_every_call(point: str, error: str, service: Service, row: Row) -> None:
    """A fresh engine for each n, until one meets no fault."""
    witness = Witness(service, row)
    service.start_rest()
    for n in count(1):
        engine = service.launch_engine(IMG_FAILPOINTS=f"{point}#{n}={error}")
        log = service.logs / f"img-engine-{len(service._started) - 1}.log"
        row.add(rounds=1)
        if engine.poll() is not None:  # it proves its volume first; whoever has started it will do so again
            assert (engine.returncode, error in log.read_text()) == (2, True)
            continue
        status = witness.ended(witness.insist())
        assert (status.status, status.attempt) == ("done", 1), (n, status)
        if error not in log.read_text():
            break
        service.kill(engine)
    assert n > 2, "the fault was never met"
    witness.verdict(most_attempts=1)
    end(service)


def test_a_job_keeps_its_attempts_when_the_engine_cannot_write_at_whichever_call(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    in_parallel(
        *(
            partial(
                engine_at_every_call,
                point,
                error,
                make_service(IMG_ENGINE__CHILDREN="1"),
                row(f"img-engine: {error} at the n-th {point.partition('.')[2]}, every n"),
            )
            for point, error, _ in FAULTS
        )
    )


# A real file system


@pytest.fixture
def small(make_service: Callable[..., Service]) -> Iterator[Service]:
    """A service on a file system of its own, of four MiB."""
    service = make_service(IMG_ENGINE__CHILDREN="1")
    service.volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4160k", "none", service.volume],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this test mounts a file system, which was refused: {mounted.stderr}")
    yield service
    end(service)
    subprocess.run(["umount", "--lazy", service.volume], check=True)


def fill(path: Path) -> None:
    """Take all the space there is, to the last byte."""
    with path.open("ab", buffering=0) as file:
        for portion in (64 * 1024, 1024, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(portion))


def remount(volume: Path, how: str) -> None:
    def done() -> bool:
        return (
            subprocess.run(["mount", "-o", f"remount,{how}", volume], check=False, capture_output=True).returncode == 0
        )

    until(done, why=f"it could not be mounted {how}")


def test_a_full_volume_refuses_what_it_cannot_keep_and_heals_by_itself(
    small: Service, row: Callable[[str], Row], photo: bytes
) -> None:
    witness = Witness(small, row("volume full"))
    small.start_rest()
    while witness.post(photo, width=50):  # large ones, until one of them does not go in any more
        pass
    assert set(witness.refused) == {"volume_full"}
    for _ in range(3):
        witness.post()
    fill(small.volume / "filler")
    small.launch_engine()
    until(lambda: '"store_fault"' in small.log(), why="the engine did not meet the fault")
    for _ in range(3):
        assert witness.post() is None
    assert set(witness.refused) == {"volume_full"}
    for job_id in witness.accepted:
        assert witness.status(job_id).status in ("queued", "processing")
    (small.volume / "filler").unlink()
    witness.verdict(most_attempts=1)
    witness.row.add(rounds=1)


def test_a_volume_that_is_read_only_refuses_and_heals_by_itself(small: Service, row: Callable[[str], Row]) -> None:
    witness = Witness(small, row("volume read-only"))
    small.start_rest()
    jobs = [witness.insist() for _ in range(5)]
    remount(small.volume, "ro")
    assert small.launch_engine().wait(HANG_SECONDS) == 2
    assert "Read-only file system (EROFS)" in small.log()
    for _ in range(3):
        assert witness.post() is None
    assert set(witness.refused) == {"volume_unavailable"}
    for refused in (partial(small.client.cancel, jobs[0]), partial(small.client.health, ready=True)):
        with pytest.raises(Unavailable) as caught:
            refused()
        assert caught.value.status == 503
    assert {witness.status(job_id).status for job_id in jobs} == {"queued"}
    remount(small.volume, "rw")
    small.launch_engine()
    witness.verdict(most_attempts=1)
    witness.row.add(rounds=1)


def test_a_volume_that_goes_under_way_costs_no_attempt(small: Service, row: Callable[[str], Row]) -> None:
    """It becomes read-only between the claim and the outcome, again and again."""
    witness = Witness(small, row("volume read-only under load"))
    small.start_rest()
    small.start_engine()
    for _ in range(3):
        for _ in range(20):
            witness.insist(picture(320, 240), width=300, format="avif")
        remount(small.volume, "ro")
        until(lambda: witness.post() is None, why="a post was taken by a volume that cannot be written")
        remount(small.volume, "rw")
        witness.row.add(rounds=1)
    assert os.path.ismount(small.volume)
    witness.verdict(most_attempts=1)
