"""The same request sent again gives the job that it gave before; another one under its name is refused."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import Claim, Jobs
from img_contract.testing import HANG_SECONDS
from img_contract.volume.cleanup import LEFTOVER_SECONDS, SHARDS, Cleanup
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_rest.app import create_app


def send(client: FlaskClient, picture: bytes, key: str = "my-request-1", **parameters: str) -> Any:
    form = {"file": (io.BytesIO(picture), "name.png"), **({"width": "5"} | parameters)}
    return client.post("/resize", data=form, headers={"Idempotency-Key": key})


def test_a_repeated_request_gives_the_first_job(client: FlaskClient, png: bytes, jobs: Jobs) -> None:
    first = send(client, png)
    again = send(client, png, key='"my-request-1"')
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.get_json() == first.get_json()
    assert again.headers["Location"] == first.headers["Location"]
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert jobs.capacity().pending == 1


def test_a_repeated_request_gives_the_first_job_after_its_end_and_a_restart(
    client: FlaskClient, png: bytes, finish: Any, config: Config, layout: Layout
) -> None:
    first = send(client, png)
    finish()
    restarted = create_app(config, VolumeJobs(layout, MemoryNotifier())).test_client()
    again = send(restarted, png)
    assert (again.status_code, again.get_json()["id"]) == (202, first.get_json()["id"])
    waited = client.post(
        "/resize?wait=5",
        data={"file": (io.BytesIO(png), "x"), "width": "5"},
        headers={"Idempotency-Key": "my-request-1"},
    )
    assert (waited.status_code, waited.headers["Location"]) == (303, f"/resize/{first.get_json()['id']}")


@pytest.mark.parametrize("other", [{"width": "6"}, {"fit": "cover", "height": "3"}])
def test_other_parameters_under_the_same_key_are_refused(
    client: FlaskClient, png: bytes, other: dict[str, str]
) -> None:
    send(client, png)
    answer = send(client, png, **other)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_key_reused")


def test_another_picture_or_watermark_under_the_same_key_is_refused(client: FlaskClient, png: bytes) -> None:
    send(client, png)
    assert send(client, png + b"more").get_json()["code"] == "idempotency_key_reused"
    form = {"file": (io.BytesIO(png), "x"), "watermark": (io.BytesIO(png), "w"), "width": "5"}
    answer = client.post("/resize", data=form, headers={"Idempotency-Key": "my-request-1"})
    assert answer.get_json()["code"] == "idempotency_key_reused"


def test_a_request_that_failed_leaves_its_key_free(client: FlaskClient, png: bytes) -> None:
    assert send(client, png, width="0").status_code == 422
    assert send(client, b"no picture").status_code == 415
    assert send(client, png).status_code == 202


def test_while_the_first_is_under_way_the_second_is_refused(client: FlaskClient, png: bytes, app: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reached.set()
            go_on.wait(HANG_SECONDS)
            return super().read(size)

    statuses = []

    def first() -> None:
        with app.test_client() as own:
            answer = own.post(
                "/resize?width=5",
                input_stream=Slow(png),
                content_length=len(png),
                headers={"Idempotency-Key": "k"},
            )
            statuses.append(answer.status_code)

    thread = threading.Thread(target=first)
    thread.start()
    assert reached.wait(HANG_SECONDS)
    answer = send(client, png, key="k")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "idempotency_key_in_use")
    assert int(answer.headers["Retry-After"]) > 0
    go_on.set()
    thread.join(HANG_SECONDS)
    assert statuses == [202]
    assert client.post("/resize?width=5", data=png, headers={"Idempotency-Key": "k"}).status_code == 202


@pytest.mark.parametrize("key", ["", " ", "with blank", "é", "x" * 256, "\x7f", '""'])
def test_an_invalid_key_is_refused(client: FlaskClient, png: bytes, key: str) -> None:
    answer = send(client, png, key=key)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["parameter"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b", "x" * 255, "%00", "~!@#$%^&*()"])
def test_a_key_never_becomes_a_path(client: FlaskClient, png: bytes, key: str, layout: Layout) -> None:
    assert send(client, png, key=key).status_code == 202
    (record,) = layout.idempotency.iterdir()
    assert len(record.name) == 64


def test_a_death_between_record_and_job_leaves_the_key_free(
    client: FlaskClient, png: bytes, layout: Layout, failing: Any
) -> None:
    """The job's rename fails, as if the process had died there: the record is on the volume, and leads nowhere."""
    with failing("storage.rename#2=EIO"):  # the first is the record's own
        assert send(client, png).status_code == 503
    assert len(list(layout.idempotency.iterdir())) == 1
    answer = send(client, png, width="7")
    assert answer.status_code == 202
    assert send(client, png, width="7").get_json()["id"] == answer.get_json()["id"]


@pytest.mark.parametrize("content", ["{", '{"job": "x", "content": "y"}', '{"content": "y"}'])
def test_a_damaged_record_counts_as_none(client: FlaskClient, png: bytes, layout: Layout, content: str) -> None:
    first = send(client, png)
    (record,) = layout.idempotency.iterdir()
    record.write_text(content)
    again = send(client, png)
    assert (again.status_code, again.get_json()["id"] != first.get_json()["id"]) == (202, True)


def test_records_are_removed_with_their_jobs(client: FlaskClient, png: bytes, layout: Layout) -> None:
    kept, gone = send(client, png, key="kept"), send(client, png, key="gone")
    shutil.rmtree(layout.folder(gone.get_json()["id"]))
    past = time.time() - LEFTOVER_SECONDS - 1
    for record in layout.idempotency.iterdir():
        os.utime(record, (past, past))
    cleanup = Cleanup(layout, 3600.0)
    for _ in range(SHARDS):
        cleanup.run_batch()
    assert len(list(layout.idempotency.iterdir())) == 1
    assert send(client, png, key="kept").get_json()["id"] == kept.get_json()["id"]


def test_a_job_without_a_marker_gets_one_when_its_request_is_repeated(
    client: FlaskClient, png: bytes, layout: Layout
) -> None:
    """The process died between the two."""
    job = send(client, png).get_json()["id"]
    layout.unmark(job)
    assert send(client, png).get_json()["id"] == job
    assert [marker.name for marker in layout.markers()] == [job]


def test_a_job_that_has_ended_is_not_put_back_into_the_queue(
    client: FlaskClient, png: bytes, jobs: Jobs, finish: Any
) -> None:
    send(client, png)
    finish()
    assert send(client, png).get_json()["status"] == "done"
    assert jobs.capacity().pending == 0


def test_a_repeated_request_keeps_its_job_s_place_in_the_queue(
    client: FlaskClient, png: bytes, claimed: Callable[[], Claim]
) -> None:
    first = send(client, png, key="first").get_json()["id"]
    second = send(client, png, key="second").get_json()["id"]
    send(client, png, key="first")
    assert [claimed().job.id for _ in range(2)] == [first, second]


def test_a_repeated_request_for_a_deleted_job_is_410(client: FlaskClient, png: bytes, finish: Any) -> None:
    job = send(client, png).get_json()["id"]
    finish()
    client.delete(f"/resize/{job}")
    assert send(client, png).get_json()["code"] == "job_deleted"
