"""The service as users start it: docker-compose up, hardened containers, and the same promises."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
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


def until(what: Any, seconds: float, why: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{why}\n{run(*compose(), 'logs', '--tail=50')}"
        time.sleep(0.2)
    return found


def ready(engines: int) -> bool:
    try:
        answer = requests.get(f"{URL}/health/ready", timeout=5)
    except requests.ConnectionError:
        return False
    return answer.ok and answer.json()["engines"] >= engines


@pytest.fixture(scope="module", autouse=True)
def up() -> Iterator[None]:
    """Build and start once for all tests here."""
    run(*compose(), "up", "-d", "--build")
    try:
        until(lambda: ready(1), 60, "the service did not get ready")
        yield
    finally:
        run(*compose(), "down", "-v")


def post(picture: bytes, **parameters: Any) -> str:
    answer = requests.post(f"{URL}/resize", files={"file": picture}, data=parameters, timeout=60)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def ended(job_id: str, seconds: float = 90) -> dict[str, Any]:
    def final() -> dict[str, Any] | None:
        try:
            body: dict[str, Any] = requests.get(f"{URL}/resize/status/{job_id}?wait=5", timeout=60).json()
        except requests.ConnectionError:
            return None  # the API is being restarted
        return body if body["status"] in ("done", "failed", "cancelled") else None

    found: dict[str, Any] = until(final, seconds, f"job {job_id} did not end")
    return found


def test_a_picture_goes_in_and_comes_out(photo: bytes) -> None:
    answer = requests.post(f"{URL}/resize?wait=30", files={"file": photo}, data={"width": 800}, timeout=60)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("JPEG", (800, 533))


def test_both_become_healthy() -> None:
    for service in ("img-rest", "img-engine"):
        (container,) = containers(service)
        until(
            lambda container=container: inspect(container)["State"]["Health"]["Status"] == "healthy",
            60,
            f"{service} is not healthy",
        )


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
    until(lambda: ready(3), 60, "three engines did not start")
    with ThreadPoolExecutor(8) as clients:
        jobs = list(clients.map(lambda _: post(photo, width=600), range(90)))
    assert {(end["status"], end["attempt"]) for end in map(ended, jobs)} == {("done", 1)}
    engines = containers("img-engine")
    shares = {name: docker_logs(name).count("job_done") for name in engines}
    assert len(shares) == 3
    assert sum(shares.values()) >= 90
    assert min(shares.values()) >= 10, f"the load was not shared: {shares}"

    running = [post(slow_photo, **slow) for _ in range(3)]
    until(
        lambda: requests.get(f"{URL}/resize/status/{running[0]}", timeout=30).json()["status"] == "processing",
        30,
        "the job did not start",
    )
    victim = next(name for name in engines if f'"{running[0]}"' in docker_logs(name))
    run("docker", "kill", "--signal=KILL", victim)
    ends = [ended(job) for job in running]
    assert {end["status"] for end in ends} == {"done"}
    assert ends[0]["attempt"] == 2


def docker_logs(container: str) -> str:
    """Both streams: the service logs to stderr."""
    ended = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return ended.stdout + ended.stderr


def test_a_restart_of_everything_under_load_loses_nothing(photo: bytes) -> None:
    jobs: list[str] = []

    def client(_: int) -> None:
        for _ in range(15):
            for _ in range(200):
                try:
                    answer = requests.post(f"{URL}/resize", files={"file": photo}, data={"width": 300}, timeout=60)
                except requests.ConnectionError:
                    time.sleep(0.1)  # refused or cut off in mid-upload: nothing was acknowledged, so post it again
                    continue
                assert answer.status_code == 202, answer.text
                jobs.append(answer.json()["id"])
                break

    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(client, number) for number in range(8)]
        run("docker", "kill", "--signal=KILL", *containers("img-rest"), *containers("img-engine"))
        run(*compose(), "up", "-d", "--scale", "img-engine=2")
        for part in work:
            part.result()
    assert len(jobs) == 8 * 15
    assert {end["status"] for end in map(ended, jobs)} == {"done"}


def test_containers_killed_at_random_under_load_lose_nothing(photo: bytes) -> None:
    """Ten kills, one after the other, while eight clients post, wait, and check every file."""
    run(*compose(), "up", "-d", "--scale", "img-engine=2")
    until(lambda: ready(2), 60, "two engines did not start")
    chance, over = random.Random(7), threading.Event()
    found: list[tuple[str, bool]] = []

    def one(number: int) -> tuple[str, bool]:
        key = {"Idempotency-Key": f"{number}-{time.monotonic_ns()}"}
        form = {"width": 200 + number}
        job_id = retried(
            lambda: requests.post(f"{URL}/resize", files={"file": photo}, data=form, headers=key, timeout=60), 202
        ).json()["id"]
        status = ended(job_id, 120)
        content = retried(lambda: requests.get(f"{URL}/resize/{job_id}", timeout=60), 200).content
        return status["status"], hashlib.sha256(content).hexdigest() == status["outputs"][0]["sha256"]

    def client(number: int) -> None:
        while not over.is_set():
            found.append(one(number))

    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(client, number) for number in range(8)]
        try:
            for _ in range(10):
                before = len(found)
                victim = chance.choice([*containers("img-rest"), *containers("img-engine")])
                run("docker", "kill", "--signal=KILL", victim)
                run("docker", "start", victim)
                until(lambda: ready(1), 60, "the service did not come back")
                until(lambda before=before: len(found) >= before + 5, 90, "no further job was done")
        finally:
            over.set()
        for part in work:
            part.result()
    assert len(found) >= 50
    assert set(found) == {("done", True)}


def retried(ask: Callable[[], requests.Response], expected: int) -> requests.Response:
    """Ask again for as long as a container is down."""
    for _ in range(600):
        try:
            answer = ask()
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.1)  # refused or cut off: come again
            continue
        assert answer.status_code == expected, answer.text
        return answer
    raise AssertionError("the API did not come back")


def test_when_memory_runs_out_the_kernel_takes_a_child_and_never_the_parent(photo: bytes) -> None:
    """The container gets less memory than its children may take, as if somebody had sized it wrongly."""
    run(*compose(), "up", "-d", "--scale", "img-engine=1")
    (engine,) = until(
        lambda: containers("img-engine") if len(containers("img-engine")) == 1 else None, 60, "one engine"
    )
    until(lambda: ready(1), 60, "the engine is not ready")
    ended(post(photo, width=20))
    started = inspect(engine)["State"]["StartedAt"]
    large = io.BytesIO()
    Image.effect_noise((5600, 5600), 90).convert("RGB").save(large, "PNG", compress_level=0)
    run("docker", "update", "--memory=300m", "--memory-swap=300m", engine)
    try:
        status = ended(post(large.getvalue(), width=5000, format="png"), 300)
        assert (status["status"], status["error"]["code"]) == ("failed", "attempts_exhausted"), status
        assert "signal 9" in status["error"]["detail"]
        assert ended(post(photo, width=30))["status"] == "done"  # the next job is served
    finally:
        run("docker", "update", "--memory=4g", "--memory-swap=4g", engine)
    after = inspect(engine)
    assert (after["State"]["StartedAt"], after["RestartCount"]) == (started, 0), "the parent did not live"
    assert ended(post(large.getvalue(), width=5000, format="png"), 120)["status"] == "done"
