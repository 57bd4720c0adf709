"""The service as users start it: docker-compose up, hardened containers, and the same promises."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from img_client import Client, ImgError
from img_contract.testing import HANG_SECONDS, until
from img_testing.web import web
from PIL import Image

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

TOP = Path(__file__).parents[1]
PROJECT = "imgtest"


def run(*command: str) -> str:
    ended = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


ENVIRONMENT = {"IMG_PORT": "18080"}
URL = f"http://127.0.0.1:{ENVIRONMENT['IMG_PORT']}"
ONCE = Client(URL, retries=0)
PATIENT = Client(URL, retries=60, longest_pause=HANG_SECONDS)
"""Comes again for as long as a container is down."""


def compose() -> list[str]:
    """Compose 2 where it is installed, else docker-compose 1.29."""
    two = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    return [*(["docker", "compose"] if two else ["docker-compose"]), "-p", PROJECT]


def containers(service: str) -> list[str]:
    """The ids of a service's containers that are running."""
    labels = [f"label=com.docker.compose.project={PROJECT}", f"label=com.docker.compose.service={service}"]
    return run("docker", "ps", "-q", *(word for label in labels for word in ("--filter", label))).split()


def inspect(container: str) -> Any:
    return json.loads(run("docker", "inspect", container))[0]


def ready(engines: int) -> bool:
    try:
        return (ONCE.health(ready=True).engines or 0) >= engines
    except ImgError:
        return False


@pytest.fixture(scope="module", autouse=True)
def up() -> Iterator[None]:
    """Build and start once for all tests here."""
    run(*compose(), "up", "-d", "--build")
    try:
        until(lambda: ready(1), why="the service did not get ready")
        yield
    finally:
        ONCE.close()
        PATIENT.close()
        run(*compose(), "down", "-v")


def post(picture: bytes, **parameters: Any) -> str:
    return ONCE.submit(picture, **parameters).id


def ended(job_id: str) -> Any:
    """The Status once it is final, however often the API is restarted."""
    return PATIENT.wait(job_id, 300)


def test_a_picture_goes_in_and_comes_out(photo: bytes) -> None:
    with Image.open(io.BytesIO(PATIENT.resize(photo, width=800))) as image:
        assert (image.format, image.size) == ("JPEG", (800, 533))


def healthy(container: str) -> bool:
    return bool(inspect(container)["State"]["Health"]["Status"] == "healthy")


def test_the_page_for_people_is_in_the_image() -> None:
    page = web.get(f"{URL}/app").text
    for asset in re.findall(r'(?:href|src)="(app/[^"]+)"', page):
        assert web.get(f"{URL}/{asset}").status_code == 200


def test_both_become_healthy() -> None:
    for service in ("img-rest", "img-engine"):
        (container,) = containers(service)
        until(partial(healthy, container), why=f"{service} is not healthy")


@pytest.mark.parametrize("service", ["img-rest", "img-engine"])
def test_each_container_has_no_more_than_it_needs(service: str) -> None:
    (container,) = containers(service)
    facts = inspect(container)
    host = facts["HostConfig"]
    assert facts["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert 0 < host["PidsLimit"] <= 1200
    assert host["Init"] is True
    assert host["Privileged"] is False
    status = run("docker", "exec", container, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status  # a filter: Docker's own profile, since none is named
    assert not [option for option in host["SecurityOpt"] if option.startswith("seccomp")]
    refused = subprocess.run(["docker", "exec", container, "touch", "/opt/x"], capture_output=True, check=False)
    assert refused.returncode != 0


def test_the_engine_has_the_library_for_planes() -> None:
    code = "from img_engine.render.jpeg_planes.turbojpeg import turbojpeg; print(turbojpeg() is not None)"
    assert run("docker", "exec", containers("img-engine")[0], "python", "-c", code).strip() == "True"


def test_the_port_is_published_on_loopback_only() -> None:
    (rest,) = containers("img-rest")
    ports = inspect(rest)["NetworkSettings"]["Ports"]
    assert ports == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ENVIRONMENT["IMG_PORT"]}]}


def test_the_engine_has_no_way_out() -> None:
    (engine,) = containers("img-engine")
    networks = inspect(engine)["NetworkSettings"]["Networks"]
    assert list(networks) == [f"{PROJECT}_notifier"]
    assert json.loads(run("docker", "network", "inspect", f"{PROJECT}_notifier"))[0]["Internal"] is True
    (rest,) = containers("img-rest")
    addresses = {name: net["IPAddress"] for name, net in inspect(rest)["NetworkSettings"]["Networks"].items()}
    reach = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"

    def reaches(address: str, port: str) -> bool:
        command = ["docker", "exec", engine, "python", "-c", reach, address, port]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert reaches(addresses[f"{PROJECT}_notifier"], "5555"), "the notifier must be in reach"
    assert not reaches(addresses[f"{PROJECT}_front"], "8080"), "another network is in reach"


def test_three_engines_share_the_load_and_one_killed_in_mid_job_loses_nothing(
    photo: bytes, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    run(*compose(), "up", "-d", "--scale", "img-engine=3")
    until(lambda: ready(3), why="three engines did not start")
    with ThreadPoolExecutor(8) as clients:
        jobs = list(clients.map(lambda _: post(photo, width=600), range(90)))
    assert {(end.status, end.attempt) for end in map(ended, jobs)} == {("done", 1)}
    engines = containers("img-engine")
    shares = {name: docker_logs(name).count("job_done") for name in engines}
    assert len(shares) == 3
    assert sum(shares.values()) >= 90
    assert min(shares.values()) >= 10, f"the load was not shared: {shares}"

    running = [post(slow_photo, **slow) for _ in range(3)]
    until(lambda: PATIENT.status(running[0]).status == "processing", why="the job did not start")
    victim = next(name for name in engines if f'"{running[0]}"' in docker_logs(name))
    run("docker", "kill", "--signal=KILL", victim)
    ends = [ended(job) for job in running]
    assert {end.status for end in ends} == {"done"}
    assert ends[0].attempt == 2


def docker_logs(container: str) -> str:
    """Both streams: the service logs to stderr."""
    ended = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return ended.stdout + ended.stderr


def test_a_restart_of_everything_under_load_loses_nothing(photo: bytes) -> None:
    jobs: list[str] = []

    def client(_: int) -> None:
        # Refused or cut off in mid-upload, it is sent again.
        jobs.extend(PATIENT.submit(photo, width=300).id for _ in range(15))

    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(client, number) for number in range(8)]
        run("docker", "kill", "--signal=KILL", *containers("img-rest"), *containers("img-engine"))
        run(*compose(), "up", "-d", "--scale", "img-engine=2")
        for part in work:
            part.result()
    assert len(jobs) == 8 * 15
    assert {end.status for end in map(ended, jobs)} == {"done"}


def test_containers_killed_at_random_under_load_lose_nothing(photo: bytes) -> None:
    """Ten kills, one after the other, while eight clients post, wait, and check every file."""
    run(*compose(), "up", "-d", "--scale", "img-engine=2")
    until(lambda: ready(2), why="two engines did not start")
    chance, over = random.Random(7), threading.Event()
    found: list[tuple[str, bool]] = []

    def one(number: int) -> tuple[str, bool]:
        job_id = PATIENT.submit(photo, width=200 + number).id
        status = ended(job_id)
        return status.status, hashlib.sha256(PATIENT.fetch(job_id)).hexdigest() == status.outputs[0].sha256

    def got_on(enough: int) -> bool:
        return len(found) >= enough

    def client(number: int) -> None:
        while not over.is_set():
            found.append(one(number))

    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(client, number) for number in range(8)]
        try:
            for _ in range(10):
                enough = len(found) + 5
                victim = chance.choice([*containers("img-rest"), *containers("img-engine")])
                run("docker", "kill", "--signal=KILL", victim)
                run("docker", "start", victim)
                until(lambda: ready(1), why="the service did not come back")
                until(partial(got_on, enough), why="no further job was done")
        finally:
            over.set()
        for part in work:
            part.result()
    assert len(found) >= 50
    assert set(found) == {("done", True)}


def test_when_memory_runs_out_the_kernel_takes_a_child_and_never_the_parent(photo: bytes) -> None:
    """The container gets less memory than its children may take, as if somebody had sized it wrongly."""
    run(*compose(), "up", "-d", "--scale", "img-engine=1")
    (engine,) = until(
        lambda: containers("img-engine") if len(containers("img-engine")) == 1 else None, why="there is not one engine"
    )
    until(lambda: ready(1), why="the engine is not ready")
    ended(post(photo, width=20))
    started = inspect(engine)["State"]["StartedAt"]
    large = io.BytesIO()
    Image.effect_noise((5600, 5600), 90).convert("RGB").save(large, "PNG", compress_level=0)
    run("docker", "update", "--memory=300m", "--memory-swap=300m", engine)
    try:
        status = ended(post(large.getvalue(), width=5000, format="png"))
        assert (status.status, status.error.code) == ("failed", "attempts_exhausted"), status
        assert "signal 9" in status.error.detail
        assert ended(post(photo, width=30)).status == "done"  # the next job is served
    finally:
        run("docker", "update", "--memory=4g", "--memory-swap=4g", engine)
    after = inspect(engine)
    assert (after["State"]["StartedAt"], after["RestartCount"]) == (started, 0), "the parent did not live"
    assert ended(post(large.getvalue(), width=5000, format="png")).status == "done"
