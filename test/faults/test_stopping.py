"""Nothing is lost when a part of the service stops, starts later, or freezes. test_killed kills them at every step."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from img_contract.testing import HANG_SECONDS, free_port, until
from img_testing.service import BIN, TOP, Service

pytestmark = pytest.mark.faults


def test_a_killed_engine_leaves_no_children(own_service: Service, slow_photo: bytes, slow: dict[str, Any]) -> None:
    victim = own_service.engine
    own_service.ended(own_service.post(slow_photo, width=20))  # all children are up
    family = psutil.Process(victim.pid).children(recursive=True)
    assert family
    own_service.post(slow_photo, **slow)
    own_service.kill(victim)
    _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert alive == []


def test_notifications_that_are_lost_are_made_good_by_the_sweep(
    make_service: Callable[..., Service], photo: bytes
) -> None:
    service = make_service()
    service.start_rest()
    service.start_engine(IMG_NOTIFIER__CONNECT=f"tcp://127.0.0.1:{free_port()}")
    jobs = [service.post(photo, width=100) for _ in range(10)]
    assert {service.ended(job).status for job in jobs} == {"done"}
    assert '"event": "engines_not_notified"' in service.log()


def test_jobs_wait_for_an_engine_and_are_all_done(make_service: Callable[..., Service], photo: bytes) -> None:
    service = make_service()
    service.start_rest()
    jobs = [service.post(photo, width=100) for _ in range(20)]
    assert {service.status(job).status for job in jobs} == {"queued"}
    service.start_engine()
    assert {service.ended(job).status for job in jobs} == {"done"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_api_loses_nothing(own_service: Service, photo: bytes, how: int) -> None:
    done = own_service.post(photo, width=100)
    own_service.ended(done)
    waiting = [own_service.post(photo, width=200) for _ in range(5)]
    assert own_service.rest
    family = psutil.Process(own_service.rest.pid).children(recursive=True)
    own_service.kill(own_service.rest, how)
    _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert alive == [], "the process that serves outlived its parent"
    own_service.start_rest()
    assert {own_service.ended(job).status for job in [done, *waiting]} == {"done"}
    assert own_service.fetch(done)
    later = own_service.post(photo, width=100)  # the notifier is bound again
    assert own_service.ended(later).status == "done"


def test_a_restart_of_the_engine_loses_nothing_and_charges_nothing(
    own_service: Service, slow_photo: bytes, photo: bytes, slow: dict[str, Any]
) -> None:
    jobs = [own_service.post(slow_photo, **slow), *(own_service.post(photo, width=200) for _ in range(10))]
    assert own_service.kill(own_service.engine, signal.SIGTERM) == 0
    own_service.start_engine()
    ends = [own_service.ended(job) for job in jobs]
    assert {(end.status, end.attempt) for end in ends} == {("done", 1)}


def test_an_engine_that_was_frozen_past_its_lease_spoils_nothing(
    own_service: Service, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    job_id = own_service.post(slow_photo, **slow)
    until(lambda: own_service.status(job_id).status == "processing", why="the job did not start")
    with own_service.frozen(own_service.engine):
        own_service.start_engine()
        status = own_service.ended(job_id)
    assert (status.status, status.attempt) == ("done", 2)
    again = own_service.ended(own_service.post(slow_photo, width=50))
    assert again.status == "done"
    assert hashlib.sha256(own_service.fetch(job_id)).hexdigest() == status.outputs[0].sha256
    assert own_service.status(job_id) == status


def test_those_who_wait_are_answered_when_the_api_stops(make_service: Callable[..., Service], photo: bytes) -> None:
    """The wait is longer than the guard against hanging: an API that sat it out would not stop in time."""
    wait = 10 * HANG_SECONDS
    service = make_service(IMG_HTTP__WAIT_SECONDS=str(wait))
    rest = service.start_rest()
    job_id = service.post(photo, width=100)
    (server,) = psutil.Process(rest.pid).children()
    before = server.num_threads()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(service.status(job_id, wait).status), daemon=True)
    thread.start()
    until(lambda: server.num_threads() > before, why="no thread watches the job")
    assert service.kill(rest, signal.SIGTERM) == 0
    thread.join(HANG_SECONDS)
    assert answers == ["queued"]


@pytest.mark.parametrize("delay", [0.2, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0])
def test_ctrl_c_stops_make_run_whenever_it_comes(delay: float, tmp_path: Path) -> None:
    """Sent to the whole process group, as a terminal does, at different moments of the start and after it."""
    address = f"tcp://127.0.0.1:{free_port()}"
    settings = {
        "IMG_VOLUME": str(tmp_path / "volume"),
        "IMG_HTTP__PORT": str(free_port()),
        "IMG_NOTIFIER__BIND": address,
        "IMG_NOTIFIER__CONNECT": address,
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        both = subprocess.Popen(
            [TOP / "run", BIN],
            env=os.environ | settings,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    time.sleep(delay)  # the moment is what is tested
    parts = psutil.Process(both.pid).children(recursive=True)
    os.killpg(both.pid, signal.SIGINT)
    both.wait(HANG_SECONDS)
    _, alive = psutil.wait_procs(parts, timeout=HANG_SECONDS)
    assert alive == [], log.read_text()
