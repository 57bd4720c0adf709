"""Every call of either client, against the service in real processes."""

from __future__ import annotations

import asyncio
import inspect
import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from img_client import AsyncClient, Client, NotFound, Refused
from img_contract.job.outcome import State
from img_testing.service import Service
from PIL import Image


@pytest.fixture
def call(caller: Callable[..., Any], service: Service) -> Callable[..., Any]:
    return caller(service.url)  # type: ignore[no-any-return]


def size(content: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(content)) as image:
        return image.format, image.size


def test_resize_gives_the_picture(call: Callable[..., Any], png: bytes) -> None:
    assert size(call("resize", png, width=20, format="webp")) == ("WEBP", (20, 15))


def test_jobs_are_listed_page_by_page_and_counted(call: Callable[..., Any], png: bytes) -> None:
    posted = [call("submit", png, width=20, wait=60).id for _ in range(3)]
    first = call("jobs", limit=2)
    second = call("jobs", limit=1, status="done", since=datetime.now(UTC) - timedelta(hours=1))
    assert [job.id for job in first.jobs] == posted[:0:-1]
    assert [job.id for job in call("jobs", limit=1, cursor=first.next).jobs] == posted[:1]
    assert second.jobs[0].status is State.DONE
    assert call("stats").hour.done >= 3
    with pytest.raises(Refused) as refused:
        call("jobs", limit=1000)
    assert (refused.value.code, refused.value.errors[0].parameter) == ("query_invalid", "limit")


def test_a_job_is_submitted_waited_for_fetched_and_deleted(call: Callable[..., Any], png: bytes) -> None:
    job = call("submit", png, width=20)
    assert (job.done, job.repeated) == (False, False)
    status = call("wait", job.id)
    assert (status.id, status.status, status.outputs[0].width) == (job.id, State.DONE, 20)
    assert call("status", job.id) == status
    assert size(call("fetch", job.id)) == ("PNG", (20, 15))
    call("cancel", job.id)
    call("cancel", job.id)
    with pytest.raises(NotFound) as caught:
        call("fetch", job.id)
    assert (caught.value.status, caught.value.code) == (410, "job_deleted")


def test_a_job_that_is_done_within_the_wait_can_be_fetched_at_once(call: Callable[..., Any], png: bytes) -> None:
    job = call("submit", png, wait=60, width=20)
    assert job.done
    assert size(call("fetch", job.id)) == ("PNG", (20, 15))


def test_a_picture_may_be_bytes_a_path_or_a_file(call: Callable[..., Any], png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(png)
    names = {}
    with path.open("rb") as file:
        file.read(7)  # it is sent from its start all the same
        for kind, picture in {"bytes": png, "path": path, "text": str(path), "file": file}.items():
            job = call("submit", picture, wait=60, width=20)
            assert job.done
            names[kind] = call("status", job.id).source.filename
        assert not file.closed
    assert names == {"bytes": None, "path": path.name, "text": path.name, "file": path.name}
    job = call("submit", path, filename="other.png", width=20)
    assert call("wait", job.id).source.filename == "other.png"


def test_parameters_are_sent_as_the_api_has_them(call: Callable[..., Any], png: bytes) -> None:
    """True and false, lists, and None for what is left out."""
    job = call("submit", png, variants=["10w", "a:20w.webp"], flop=True, enlarge=False, blur=None)
    status = call("wait", job.id)
    assert [(one.name, one.width) for one in status.outputs] == [("10w", 10), ("a", 20)]
    assert size(call("fetch", job.id, "a")) == ("WEBP", (20, 15))


def test_a_watermark_is_put_on(call: Callable[..., Any], png: bytes) -> None:
    mark = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 255)).save(mark, "PNG")
    content = call("resize", png, width=40, watermark=mark, watermark_scale=1, format="png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.convert("RGB").getpixel((39, 29)) == (255, 0, 255)


def test_a_result_is_streamed_into_a_file(call: Callable[..., Any], png: bytes, tmp_path: Path) -> None:
    job = call("submit", png, wait=60, width=20)
    path = tmp_path / "small.png"
    path.write_text("what was there before")
    call("download", job.id, path)
    assert path.read_bytes() == call("fetch", job.id)
    assert list(tmp_path.iterdir()) == [path]


def test_the_service_tells_its_limits_and_its_health(call: Callable[..., Any]) -> None:
    assert call("limits").wait_seconds == 60
    assert call("health").status == "ok"
    assert call("health", ready=True).engines == 1


def test_a_large_file_is_streamed(service: Service, png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png)
    with path.open("ab") as file:
        file.truncate(50_000_000)
    with Client(service.url) as client:
        client.submit(png, width=5)  # everything is imported
        tracemalloc.start()
        try:
            client.submit(path, width=5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5_000_000


def test_one_loop_waits_for_many_jobs(service: Service, png: bytes) -> None:
    async def all_of_them() -> list[bytes]:
        async with AsyncClient(service.url) as client:
            return await asyncio.gather(*(client.resize(png, width=width) for width in range(5, 15)))

    assert [size(content)[1][0] for content in asyncio.run(all_of_them())] == list(range(5, 15))


def test_both_clients_have_the_same_calls() -> None:
    def calls(client: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(method)
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) > 8
