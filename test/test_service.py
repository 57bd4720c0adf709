"""The whole service over real processes: post, wait, fetch; and nothing lost when any of it is killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from harness import BIN, TOP, free_port, until
from PIL import Image

Make = Callable[..., Any]


def test_a_picture_goes_in_and_comes_out_resized(service: Any, photo: bytes) -> None:
    job_id = service.post(photo, width=800)
    status = service.ended(job_id)
    assert status["status"] == "done"
    assert (status["source"]["width"], status["source"]["height"], status["source"]["orientation"]) == (1800, 1200, 6)
    fetched = service.fetch(job_id)
    assert fetched.headers["Content-Type"] == "image/jpeg"
    assert hashlib.sha256(fetched.content).hexdigest() == status["outputs"][0]["sha256"]
    with Image.open(io.BytesIO(fetched.content)) as image:
        assert image.size == (800, 533)


def test_one_request_that_waits_and_follows_ends_with_the_picture(service: Any, photo: bytes) -> None:
    answer = requests.post(
        f"{service.url}/resize?wait=30", files={"file": photo}, data={"width": 300, "format": "webp"}, timeout=60
    )
    assert [step.status_code for step in answer.history] == [303]
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (300, 200))


def test_a_corrupt_picture_fails_with_a_reason_and_the_next_is_served(service: Any, photo: bytes) -> None:
    job_id = service.post(photo[: len(photo) // 2], width=800)
    assert service.ended(job_id)["error"]["code"] == "picture_corrupt"
    answer = service.fetch(job_id)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert service.ended(service.post(photo, width=80))["status"] == "done"


def test_one_upload_gives_every_variant_with_a_watermark_and_a_srcset(service: Any, photo: bytes) -> None:
    mark = io.BytesIO()
    Image.new("RGB", (40, 40), (255, 0, 255)).save(mark, "PNG")
    answer = requests.post(
        f"{service.url}/resize",
        files={"file": photo, "watermark": mark.getvalue()},
        data={
            "variants": "320w,640w.webp,thumb:100x100:cover:smart",
            "watermark_gravity": "northwest",
            "placeholder": "thumbhash",
        },
        timeout=60,
    )
    job_id = answer.json()["id"]
    status = service.ended(job_id)
    assert status["status"] == "done", status["error"]
    made = {one["name"]: (one["media_type"], one["width"], one["height"]) for one in status["outputs"]}
    assert made == {
        "320w": ("image/jpeg", 320, 213),
        "640w.webp": ("image/webp", 640, 427),
        "thumb": ("image/jpeg", 100, 100),
    }
    assert status["srcset"] == f"/resize/{job_id}/320w 320w, /resize/{job_id}/640w.webp 640w"
    assert status["dominant_color"].startswith("#")
    assert status["placeholder"]
    for one in status["outputs"]:
        fetched = requests.get(service.url + one["href"], timeout=30)
        assert hashlib.sha256(fetched.content).hexdigest() == one["sha256"]
        with Image.open(io.BytesIO(fetched.content)) as image:
            assert image.size == (one["width"], one["height"])
            pixel = image.convert("RGB").getpixel((10, 10))
            assert isinstance(pixel, tuple)
            assert (pixel[0] > 200, pixel[1] < 60, pixel[2] > 200) == (True, True, True), pixel


def test_an_animation_stays_one_and_its_status_says_so(service: Any) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "lime", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0)
    job_id = service.post(moving.getvalue(), width="50%", format="webp")
    status = service.ended(job_id)
    assert (status["source"]["frames"], status["outputs"][0]["frames"], status["warnings"]) == (3, 3, [])
    with Image.open(io.BytesIO(service.fetch(job_id).content)) as image:
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("WEBP", (30, 20), 3)


# Killing


def test_an_engine_killed_in_mid_job_is_replaced_by_another(
    service: Any, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    victim = service._started[-1]
    job_id = service.post(slow_photo, **slow)
    while service.status(job_id)["status"] != "processing":
        time.sleep(0.01)
    service.kill(victim)
    service.start_engine()
    status = service.ended(job_id)
    assert (status["status"], status["attempt"]) == ("done", 2)
    with Image.open(io.BytesIO(service.fetch(job_id).content)) as image:
        assert image.size == (2000, 1667)


def test_a_killed_engine_leaves_no_children(service: Any, slow_photo: bytes, slow: dict[str, Any]) -> None:
    victim = service._started[-1]
    service.ended(service.post(slow_photo, width=20))  # all children are up
    family = psutil.Process(victim.pid).children(recursive=True)
    assert family
    service.post(slow_photo, **slow)
    service.kill(victim)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_notifications_that_are_lost_are_made_good_by_the_sweep(make_service: Make, photo: bytes) -> None:
    service = make_service()
    service.start_rest()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        service.start_engine(IMG_NOTIFIER__CONNECT=f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        jobs = [service.post(photo, width=100) for _ in range(10)]
        assert {service.ended(job)["status"] for job in jobs} == {"done"}
    assert '"notified": false' in service.log()


def test_jobs_wait_for_an_engine_and_are_all_done(make_service: Make, photo: bytes) -> None:
    service = make_service()
    service.start_rest()
    jobs = [service.post(photo, width=100) for _ in range(20)]
    assert {service.status(job)["status"] for job in jobs} == {"queued"}
    service.start_engine()
    assert {service.ended(job)["status"] for job in jobs} == {"done"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_api_loses_nothing(service: Any, photo: bytes, how: int) -> None:
    done = service.post(photo, width=100)
    service.ended(done)
    waiting = [service.post(photo, width=200) for _ in range(5)]
    family = psutil.Process(service.rest.pid).children(recursive=True)
    service.kill(service.rest, how)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == [], "the process that serves outlived its parent"
    service.start_rest()
    assert {service.ended(job)["status"] for job in [done, *waiting]} == {"done"}
    assert service.fetch(done).status_code == 200
    later = service.post(photo, width=100)  # the notifier is bound again
    assert service.ended(later, seconds=20)["status"] == "done"


def test_a_restart_of_the_engine_loses_nothing_and_charges_nothing(
    service: Any, slow_photo: bytes, photo: bytes, slow: dict[str, Any]
) -> None:
    jobs = [service.post(slow_photo, **slow), *(service.post(photo, width=200) for _ in range(10))]
    assert service.kill(service._started[-1], signal.SIGTERM) == 0
    service.start_engine()
    ends = [service.ended(job) for job in jobs]
    assert {(end["status"], end["attempt"]) for end in ends} == {("done", 1)}


def test_an_engine_that_was_frozen_past_its_lease_spoils_nothing(
    service: Any, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    frozen = service._started[-1]
    job_id = service.post(slow_photo, **slow)
    while service.status(job_id)["status"] != "processing":
        time.sleep(0.01)
    everyone = [psutil.Process(frozen.pid), *psutil.Process(frozen.pid).children(recursive=True)]
    for process in everyone:
        process.suspend()
    try:
        service.start_engine()
        status = service.ended(job_id)
    finally:
        for process in everyone:
            process.resume()
    assert (status["status"], status["attempt"]) == ("done", 2)
    again = service.ended(service.post(slow_photo, width=50))
    assert again["status"] == "done"
    assert hashlib.sha256(service.fetch(job_id).content).hexdigest() == status["outputs"][0]["sha256"]
    assert service.status(job_id) == status


def test_those_who_wait_are_answered_when_the_api_stops(make_service: Make, photo: bytes) -> None:
    service = make_service()
    service.start_rest()
    job_id = service.post(photo, width=100)
    answers: list[int] = []

    def wait() -> None:
        answers.append(requests.get(f"{service.url}/resize/status/{job_id}?wait=50", timeout=60).status_code)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)  # until it waits; it would do so for 50 seconds
    began = time.monotonic()
    assert service.kill(service.rest, signal.SIGTERM) == 0
    thread.join(20)
    assert answers == [200]
    assert time.monotonic() - began < 8


def test_ctrl_c_stops_make_run_at_once_every_time(tmp_path: Path) -> None:
    """Sent to the whole process group, as a terminal does, at different moments of the start and after it."""
    for delay in (0.2, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0):
        address = f"tcp://127.0.0.1:{free_port()}"
        settings = {
            "IMG_VOLUME": str(tmp_path / "volume"),
            "IMG_HTTP__PORT": str(free_port()),
            "IMG_NOTIFIER__BIND": address,
            "IMG_NOTIFIER__CONNECT": address,
        }
        log = tmp_path / f"{delay}.log"
        with log.open("wb") as output:
            both = subprocess.Popen(
                [TOP / "run", BIN],
                env=os.environ | settings,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # As in a terminal, also where the tests themselves run with SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        time.sleep(delay)  # the moment is what is tested
        parts = psutil.Process(both.pid).children(recursive=True)
        os.killpg(both.pid, signal.SIGINT)
        assert both.wait(8) is not None
        _, alive = psutil.wait_procs(parts, timeout=5)
        assert alive == [], f"after {delay} s: {log.read_text()}"


# Load


def test_three_engines_share_the_load_and_render_each_job_once(make_service: Make, photo: bytes) -> None:
    service = make_service(IMG_ENGINE__CHILDREN="1")
    service.start_rest()
    for _ in range(3):
        service.start_engine()
    with ThreadPoolExecutor(8) as clients:
        jobs = list(clients.map(lambda _: service.post(photo, width=400), range(90)))
    ends = [service.ended(job) for job in jobs]
    assert {(end["status"], end["attempt"]) for end in ends} == {("done", 1)}
    events = [json.loads(line) for line in service.log().splitlines() if '"event": "job_claimed"' in line]
    assert len(events) == len(jobs)
    shares = [path.read_text().count('"event": "job_done"') for path in sorted(service.logs.glob("img-engine-*"))]
    assert sum(shares) == len(jobs)
    assert min(shares) >= 10, f"the load was not shared: {shares}"


def test_a_large_upload_costs_the_api_little_memory(make_service: Make, photo: bytes) -> None:
    """100 MB, as a form and as a raw body: less than 20 MB more."""
    service = make_service(IMG_LIMITS__UPLOAD_BYTES=str(128 * 1024 * 1024))
    service.start_rest()
    service.post(photo, width=10)  # everything is imported and allocated

    def memory() -> float:
        processes = [psutil.Process(service.rest.pid), *psutil.Process(service.rest.pid).children(recursive=True)]
        return sum(process.memory_info().rss for process in processes) / 1e6

    before, peak, stop = memory(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.01):
            peak = max(peak, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    large = photo + bytes(100_000_000 - len(photo))
    service.post(large, width=10)
    answer = requests.post(f"{service.url}/resize?width=10", data=large, timeout=60)
    assert answer.status_code == 202
    stop.set()
    watcher.join()
    assert peak - before < 20, f"{before:.1f} MB before, {peak:.1f} MB at the peak"


def test_clients_that_wait_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    service = make_service(IMG_HTTP__THREADS="16", IMG_HTTP__LONG_POLLS="8", IMG_HTTP__UPLOADS="4")
    service.start_rest()
    job_id = service.post(photo, width=10)  # there is no engine: it stays queued
    with ThreadPoolExecutor(40) as clients:
        waits = [
            clients.submit(requests.get, f"{service.url}/resize/status/{job_id}?wait=4", timeout=60) for _ in range(40)
        ]
        time.sleep(0.5)  # until they are all in
        began = time.monotonic()
        service.post(photo, width=10)
        assert time.monotonic() - began < 2
        assert {wait.result().status_code for wait in waits} == {200}


def test_stalled_uploads_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    service = make_service(IMG_HTTP__THREADS="16", IMG_HTTP__LONG_POLLS="4", IMG_HTTP__UPLOADS="8")
    service.start_rest()
    head = b"POST /resize?width=5 HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n"
    stalled = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(30)]
    for connection in stalled:
        connection.sendall(head + photo[:1000])
    time.sleep(0.5)  # until all that can be are being read
    began = time.monotonic()
    assert service.alive()
    assert time.monotonic() - began < 2
    refused = requests.post(f"{service.url}/resize?width=5", data=photo, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (503, "uploads_full")
    assert int(refused.headers["Retry-After"]) > 0
    for connection in stalled:
        connection.close()
    until(lambda: requests.post(f"{service.url}/resize?width=5", data=photo, timeout=30).status_code == 202)


def test_idle_and_stalled_connections_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    """1,000 connections, half of them idle after a request, half of them in the middle of their headers."""
    service = make_service(IMG_HTTP__HEADER_SECONDS="3")
    service.start_rest()
    connections = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
    try:
        for number, connection in enumerate(connections):
            half = b"GET /health HTTP/1.1\r\nHost: x\r\n"
            connection.sendall(half if number % 2 else half + b"\r\n")
        began = time.monotonic()
        service.post(photo, width=10)
        assert time.monotonic() - began < 3
        for connection in connections:
            connection.settimeout(20)
            while connection.recv(65536):  # each is closed by the service after its time
                pass
    finally:
        for connection in connections:
            connection.close()


def test_a_client_that_is_refused_in_mid_upload_reads_why(service: Any) -> None:
    """The body is read to its end before the answer, or the connection would be reset over it."""
    for _ in range(5):
        answer = requests.post(
            f"{service.url}/resize", files={"file": b"this is a text\n" * 500_000}, data={"width": 1}, timeout=60
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "not_a_picture")


def test_a_client_that_hangs_up_in_mid_upload_leaves_nothing(service: Any, photo: bytes) -> None:
    for head in (
        b"Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n",
        b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n",
    ):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(b"POST /resize?width=5 HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + photo[:100])
            time.sleep(0.1)
    deadline = time.monotonic() + 20
    while list((service.volume / "incoming").iterdir()):
        assert time.monotonic() < deadline, "leftovers in incoming/"
        time.sleep(0.05)
    assert os.listdir(service.volume / "pending") == []


def test_files_are_closed_again(service: Any, photo: bytes) -> None:
    job_id = service.post(photo, width=100)
    service.ended(job_id)
    (server,) = psutil.Process(service.rest.pid).children()
    session = requests.Session()

    def rounds(count: int) -> None:
        for _ in range(count):
            session.get(f"{service.url}/resize/{job_id}", timeout=30)
            session.head(f"{service.url}/resize/{job_id}", timeout=30)
            session.get(f"{service.url}/resize/{job_id}", headers={"Range": "bytes=0-9"}, timeout=30)
            session.get(f"{service.url}/resize/{job_id}", headers={"Range": "bytes=9999999-"}, timeout=30)
            etag = f'"{service.status(job_id)["outputs"][0]["sha256"]}"'
            session.get(f"{service.url}/resize/{job_id}", headers={"If-None-Match": etag}, timeout=30)

    rounds(3)
    before = len(server.open_files())
    rounds(20)
    assert len(server.open_files()) <= before


# One guid, two logs


def test_the_guid_of_a_job_is_in_the_logs_of_both(service: Any, photo: bytes) -> None:
    job_id = service.post(photo, width=100)
    service.ended(job_id)
    told = set()
    for line in service.log().splitlines():
        if line.startswith("{") and json.loads(line).get("id") == job_id:
            event = json.loads(line)
            told.add((event["service"], event["event"]))
    assert told >= {("img-rest", "job_accepted"), ("img-engine", "job_claimed"), ("img-engine", "job_done")}
