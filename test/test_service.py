"""The whole service over real processes: post, wait, fetch. One service for all; nothing here stops any of it."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from typing import Any

import httpx2
import psutil
import pytest
from img_client import JobFailed
from img_contract.testing import HANG_SECONDS, until
from img_testing.service import Service
from img_testing.web import web
from PIL import Image

pytestmark = pytest.mark.python_independent


def test_a_picture_goes_in_and_comes_out_resized(service: Service, photo: bytes) -> None:
    job_id = service.post(photo, width=800)
    status = service.ended(job_id)
    assert status.status == "done"
    assert (status.source.width, status.source.height, status.source.orientation) == (1800, 1200, 6)
    fetched = web.get(f"{service.url}/resize/{job_id}")
    assert fetched.headers["Content-Type"] == "image/jpeg"
    assert hashlib.sha256(fetched.content).hexdigest() == status.outputs[0].sha256
    with Image.open(io.BytesIO(fetched.content)) as image:
        assert image.size == (800, 533)


def test_one_request_that_waits_and_follows_ends_with_the_picture(service: Service, photo: bytes) -> None:
    answer = web.post(
        f"{service.url}/resize?wait=60",
        files={"file": photo},
        data={"width": 300, "format": "webp"},
        follow_redirects=True,
    )
    assert [step.status_code for step in answer.history] == [303]
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (300, 200))


def test_a_corrupt_picture_fails_with_a_reason_and_the_next_is_served(service: Service, photo: bytes) -> None:
    job_id = service.post(photo[: len(photo) // 2], width=800)
    assert service.ended(job_id).error.code == "picture_corrupt"
    with pytest.raises(JobFailed) as caught:
        service.fetch(job_id)
    assert (caught.value.status, caught.value.code) == (422, "picture_corrupt")
    assert service.ended(service.post(photo, width=80)).status == "done"


def test_one_upload_gives_every_variant_with_a_watermark_and_a_srcset(service: Service, photo: bytes) -> None:
    mark = io.BytesIO()
    Image.new("RGB", (40, 40), (255, 0, 255)).save(mark, "PNG")
    job_id = service.post(
        photo,
        watermark=mark,
        variants="320w,640w.webp,thumb:100x100:cover:smart",
        watermark_gravity="northwest",
        placeholder="thumbhash",
    )
    status = service.ended(job_id)
    assert status.status == "done", status.error
    made = {one.name: (one.media_type, one.width, one.height) for one in status.outputs}
    assert made == {
        "320w": ("image/jpeg", 320, 213),
        "640w.webp": ("image/webp", 640, 427),
        "thumb": ("image/jpeg", 100, 100),
    }
    assert [(one.media_type, one.srcset) for one in status.sources] == [
        ("image/webp", f"/resize/{job_id}/640w.webp 640w"),
        ("image/jpeg", f"/resize/{job_id}/320w 320w"),
    ]
    assert status.dominant_color.startswith("#")
    assert status.placeholder
    for one in status.outputs:
        content = web.get(service.url + one.href).content
        assert hashlib.sha256(content).hexdigest() == one.sha256
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (one.width, one.height)
            pixel = image.convert("RGB").getpixel((10, 10))
            assert isinstance(pixel, tuple)
            assert (pixel[0] > 200, pixel[1] < 60, pixel[2] > 200) == (True, True, True), pixel


def test_an_animation_stays_one_and_its_status_says_so(service: Service) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "lime", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0)
    job_id = service.post(moving.getvalue(), width="50%", format="webp")
    status = service.ended(job_id)
    assert (status.source.frames, status.outputs[0].frames, status.warnings) == (3, 3, [])
    with Image.open(io.BytesIO(service.fetch(job_id))) as image:
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("WEBP", (30, 20), 3)


def test_a_client_that_is_refused_in_mid_upload_reads_why(service: Service) -> None:
    """The body is read to its end before the answer, or the connection would be reset over it."""
    for _ in range(5):
        answer = web.post(
            f"{service.url}/resize",
            files={"file": b"this is a text\n" * 500_000},
            data={"width": 1},
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "not_a_picture")


def test_a_client_that_hangs_up_in_mid_upload_leaves_nothing(service: Service, photo: bytes) -> None:
    def incoming() -> list[Any]:
        return list((service.volume / "incoming").iterdir())

    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\n' + photo[:100]
    for head, body in (
        (b"Content-Type: image/jpeg\r\nContent-Length: 10000000\r\n", photo[:100]),
        (
            b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n",
            b"%x\r\n%b\r\n" % (len(part), part),
        ),
    ):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(b"POST /resize?width=5 HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body)
            until(incoming, why="the upload did not begin")
        until(lambda: not incoming(), why="leftovers in incoming/")
    until(lambda: not list((service.volume / "pending").iterdir()), why="half an upload became a job")


def test_files_are_closed_again(service: Service, photo: bytes) -> None:
    job_id = service.post(photo, width=100)
    etag = f'"{service.ended(job_id).outputs[0].sha256}"'
    assert service.rest
    (server,) = psutil.Process(service.rest.pid).children()

    def rounds(session: httpx2.Client, count: int) -> None:
        address = f"{service.url}/resize/{job_id}"
        for _ in range(count):
            session.get(address)
            session.head(address)
            session.get(address, headers={"Range": "bytes=0-9"})
            session.get(address, headers={"Range": "bytes=9999999-"})
            session.get(address, headers={"If-None-Match": etag})

    with httpx2.Client(timeout=HANG_SECONDS) as session:
        rounds(session, 3)
        before = len(server.open_files())
        rounds(session, 20)
        assert len(server.open_files()) <= before


def test_the_guid_of_a_job_is_in_the_logs_of_both(service: Service, photo: bytes) -> None:
    job_id = service.post(photo, width=100)
    service.ended(job_id)

    def told() -> set[tuple[str, str]]:
        lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
        return {(event["service"], event["event"]) for event in lines if event.get("id") == job_id}

    expected = {("img-rest", "job_accepted"), ("img-engine", "job_claimed"), ("img-engine", "job_done")}
    until(lambda: told() >= expected, why="the guid is not in all of the logs")
