"""Status, results, deletion: every state of a job on every route, and HTTP done right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.memory import MemoryStore
from img_contract.ports import Claim, Jobs, Work
from img_contract.volume.layout import Layout
from img_rest.app import create_app

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_result_can_be_fetched_in_ranges_and_conditionally(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes]
) -> None:
    content = finish()
    whole = client.get(f"/resize/{job_id}")
    assert whole.headers["ETag"].startswith('"')
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in whole.headers["Cache-Control"]
    assert "immutable" in whole.headers["Cache-Control"]
    assert whole.headers["Content-Disposition"].startswith("inline; filename=")
    assert int(whole.headers["Content-Length"]) == len(content)
    part = client.get(f"/resize/{job_id}", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    same = client.get(f"/resize/{job_id}", headers={"If-None-Match": whole.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    head = client.head(f"/resize/{job_id}")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content))


def test_a_range_beyond_the_file_is_416(client: FlaskClient, job_id: str, finish: Callable[[], bytes]) -> None:
    finish()
    answer = client.get(f"/resize/{job_id}", headers={"Range": "bytes=100000-"})
    assert answer.status_code == 416
    assert answer.get_json()["code"] == "range_not_satisfiable"
    assert answer.headers["Content-Range"] == "bytes */500"


def test_the_download_is_named_after_the_upload(client: FlaskClient, png: bytes, finish: Callable[[], bytes]) -> None:
    raw = (
        '--b\r\nContent-Disposition: form-data; name="file"; filename="my %22red%22 ä.png"\r\n\r\n'.encode()
        + png
        + b"\r\n--b--\r\n"
    )
    posted = client.post("/resize?width=2", data=raw, content_type="multipart/form-data; boundary=b").get_json()
    finish()
    disposition = client.get(posted["links"]["result"]).headers["Content-Disposition"]
    assert "2x1.png" in disposition
    assert disposition.startswith('inline; filename="my _red_ a-2x1.png"; ')
    assert "filename*=UTF-8''my%20_red_%20%C3%A4-2x1.png" in disposition


@pytest.mark.parametrize(
    ("filename", "download"),
    [
        ("photo", "photo-2x1.png"),
        ("photo.", "photo-2x1.png"),
        ("archive.tar.gz", "archive.tar-2x1.png"),
        (".jpg", "jpg-2x1.png"),
        ("..", "image-2x1.png"),
        ("", "image-2x1.png"),
        ("x" * 255, "x" * 100 + "-2x1.png"),
        ("blob", "blob-2x1.png"),
        ("x" * 400 + ".jpg", "x" * 100 + "-2x1.png"),
        ("-rf.jpg", "rf-2x1.png"),
        ("--.jpg", "image-2x1.png"),
        ("a;b'c:d.jpg", "a_b_c_d-2x1.png"),
        ("日本.jpg", "image-2x1.png; filename*=UTF-8''%E6%97%A5%E6%9C%AC-2x1.png"),
        (
            "новый файл.jpeg",
            "image-2x1.png; filename*=UTF-8''%D0%BD%D0%BE%D0%B2%D1%8B%D0%B9%20%D1%84%D0%B0%D0%B9%D0%BB-2x1.png",
        ),
        ("- ё.jpg", "image-2x1.png; filename*=UTF-8''%D1%91-2x1.png"),
    ],
)
def test_any_upload_gives_its_download_a_name(
    client: FlaskClient, png: bytes, finish: Callable[[], bytes], filename: str, download: str
) -> None:
    raw = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'.encode()
    posted = client.post(
        "/resize?width=2", data=raw + png + b"\r\n--b--\r\n", content_type="multipart/form-data; boundary=b"
    ).get_json()
    finish()
    disposition = client.get(posted["links"]["result"]).headers["Content-Disposition"]
    assert disposition == f"inline; filename={download}"


def test_a_failed_job_answers_with_its_own_problem(client: FlaskClient, job_id: str, fail: Callable[[], None]) -> None:
    fail()
    answer = client.get(f"/resize/{job_id}")
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert (body["code"], body["limit"], body["actual"]) == ("too_many_pixels", 64, 100)
    status = client.get(f"/resize/status/{job_id}")
    assert status.status_code == 200
    assert status.get_json()["status"] == "failed"
    assert status.get_json()["error"]["code"] == "too_many_pixels"


def test_a_running_job_is_processing_and_409(client: FlaskClient, job_id: str, claimed: Callable[[], Claim]) -> None:
    claimed()
    status = client.get(f"/resize/status/{job_id}").get_json()
    assert (status["status"], status["attempt"]) == ("processing", 1)
    assert client.get(f"/resize/{job_id}").get_json()["code"] == "job_not_done"


def test_a_queued_job_is_cancelled_as_often_as_you_like(client: FlaskClient, job_id: str, jobs: Jobs) -> None:
    for _ in range(3):
        answer = client.delete(f"/resize/{job_id}")
        assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(f"/resize/status/{job_id}").get_json()["status"] == "cancelled"
    gone = client.get(f"/resize/{job_id}")
    assert (gone.status_code, gone.get_json()["code"]) == (410, "job_cancelled")
    assert jobs.capacity().pending == 0


def test_a_result_is_deleted_as_often_as_you_like(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes]
) -> None:
    finish()
    for _ in range(3):
        assert client.delete(f"/resize/{job_id}").status_code == 204
    for route in (f"/resize/{job_id}", f"/resize/status/{job_id}"):
        gone = client.get(route)
        assert (gone.status_code, gone.get_json()["code"]) == (410, "job_deleted")


@pytest.mark.parametrize(
    "guid",
    [UNKNOWN, UNKNOWN.upper().replace("0", "A"), "x", "status", "..%2f..%2fetc%2fpasswd", "%00", "a" * 4000, "%ff"],
)
@pytest.mark.parametrize("route", ["/resize/{}", "/resize/status/{}"])
def test_a_wrong_guid_is_404_on_every_route(client: FlaskClient, route: str, guid: str) -> None:
    answers = [client.get(route.format(guid)), client.get(route.format(guid) + "?wait=5")]
    if route == "/resize/{}":
        answers.append(client.delete(route.format(guid)))
    for answer in answers:
        assert answer.status_code == 404
        assert answer.content_type == "application/problem+json"
        assert answer.get_json()["code"] in ("job_unknown", "route_unknown")


@pytest.mark.parametrize(
    ("method", "route", "allowed"),
    [
        ("GET", "/resize", "POST"),
        ("DELETE", "/resize", "POST"),
        ("POST", f"/resize/{UNKNOWN}", "GET"),
        ("PUT", f"/resize/status/{UNKNOWN}", "GET"),
        ("POST", "/limits", "GET"),
        ("DELETE", "/health", "GET"),
        ("PATCH", "/health/ready", "GET"),
        ("BREW", "/resize", "POST"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(
    client: FlaskClient, method: str, route: str, allowed: str
) -> None:
    answer = client.open(route, method=method)
    assert answer.status_code == 405
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["code"] == "method_not_allowed"
    assert allowed in answer.headers["Allow"]


def test_an_unknown_route_is_404(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "route_unknown")


def test_an_accept_header_changes_nothing(client: FlaskClient, job_id: str) -> None:
    for accept in ("text/html", "image/*", "application/xml;q=0.9, nonsense", ""):
        answer = client.get(f"/resize/status/{job_id}", headers={"Accept": accept})
        assert (answer.status_code, answer.content_type) == (200, "application/json")


def test_limits_are_those_of_the_configuration(client: FlaskClient, config: Config) -> None:
    body = client.get("/limits").get_json()
    assert body["upload_bytes"] == config.limits.upload_bytes
    assert body["accept"][:2] == ["jpeg", "png"]
    assert body["side"] == 16384


def test_readiness_needs_an_engine_and_health_does_not(client: FlaskClient, work: Work) -> None:
    assert client.get("/health").get_json()["status"] == "ok"
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "no_engine")
    work.announce()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["engines"]) == (200, 1)


def test_readiness_needs_a_volume(client: FlaskClient, layout: Layout) -> None:
    layout.engines.rmdir()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "volume_unavailable")
    assert f"cannot create and remove a file: {layout.engines}" in answer.get_json()["detail"]


def test_an_internal_error_is_a_problem_too_and_reveals_no_secrets(config: Config) -> None:
    class Defective(MemoryStore):
        def status(self, job_id: str) -> Any:
            raise RuntimeError(f"secret {job_id}")

    answer = create_app(config, Defective()).test_client().get(f"/resize/status/{UNKNOWN}")
    assert answer.status_code == 500
    assert answer.get_json()["code"] == "internal_error"
    assert b"secret" not in answer.data


def test_a_result_whose_file_is_gone_is_410(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], layout: Layout
) -> None:
    finish()
    (layout.folder(job_id) / "result/1-image.png").unlink()
    answer = client.get(f"/resize/{job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (410, "result_gone")


def test_a_job_whose_record_is_damaged_fails(client: FlaskClient, job_id: str, layout: Layout, work: Work) -> None:
    (layout.folder(job_id) / "job.json").write_text("{")
    assert client.get(f"/resize/status/{job_id}").get_json()["status"] == "queued"
    assert work.next(0) is None
    status = client.get(f"/resize/status/{job_id}").get_json()
    assert (status["status"], status["source"], status["error"]["code"]) == ("failed", None, "job_damaged")
    answer = client.get(f"/resize/{job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "job_damaged")


def test_a_full_volume_can_be_freed_by_deleting(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], layout: Layout, failing: Callable[[str], Any]
) -> None:
    finish()
    with failing("storage.rename=ENOSPC"):
        assert client.delete(f"/resize/{job_id}").status_code == 507
    assert not (layout.folder(job_id) / "result").exists()
    assert client.get(f"/resize/{job_id}").status_code == 410
    assert client.delete(f"/resize/{job_id}").status_code == 204


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 999999999999999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "no date",
    ],
)
def test_an_unreadable_date_is_ignored(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], name: str, date: str
) -> None:
    content = finish()
    for headers in ({name: date}, {name: date, "Range": "bytes=0-1"}):
        answer = client.get(f"/resize/{job_id}", headers=headers)
        assert answer.status_code in (200, 206)
        assert content.startswith(answer.data)
        assert client.get("/swaggerui/swagger-ui.css", headers=headers).status_code in (200, 206)


@pytest.mark.parametrize("wanted", ["bytes=-99999", "pages=1-2", "bytes=0-1,5-6", "bytes=5-1x", "bytes"])
def test_a_range_that_is_not_understood_gives_the_whole_file(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], wanted: str
) -> None:
    content = finish()
    answer = client.get(f"/resize/{job_id}", headers={"Range": wanted})
    assert (answer.status_code, answer.data) == (200, content)


@pytest.mark.parametrize("route", ["/resize/{}", "/swaggerui/swagger-ui.css", "/app", "/limits"])
def test_a_range_is_for_get_alone_whatever_is_asked_for(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], route: str
) -> None:
    finish()
    answer = client.head(route.format(job_id), headers={"Range": "bytes=0-9"})
    assert answer.status_code == 200
    assert "Content-Range" not in answer.headers


def test_if_match_is_honoured(client: FlaskClient, job_id: str, finish: Callable[[], bytes]) -> None:
    finish()
    etag = client.get(f"/resize/{job_id}").headers["ETag"]
    assert client.get(f"/resize/{job_id}", headers={"If-Match": etag}).status_code == 200
    assert client.get(f"/resize/{job_id}", headers={"If-Match": "*"}).status_code == 200
    other = client.get(f"/resize/{job_id}", headers={"If-Match": '"other"'})
    assert (other.status_code, other.content_type) == (412, "application/problem+json")
    assert other.get_json()["code"] == "precondition_failed"


@pytest.mark.parametrize(
    "route",
    [
        "/limits",
        "/jobs",
        "/health",
        "/health/ready",
        "/stats",
        "/metrics",
        "/resize/{}",
        "/resize/status/{}",
        "/resize/{}/2w",
    ],
)
def test_a_slash_at_the_end_changes_nothing(
    client: FlaskClient, job_id: str, finish: Callable[..., bytes], route: str
) -> None:
    finish(("2w", "image/png", 2, 1))
    without, with_slash = (client.get(f"{route.format(job_id)}{slash}") for slash in ("", "/"))
    assert with_slash.status_code == without.status_code
    assert with_slash.content_type == without.content_type


def test_a_guid_may_be_in_upper_case_and_end_like_a_file(
    client: FlaskClient, job_id: str, finish: Callable[..., bytes]
) -> None:
    content = finish(("2w", "image/png", 2, 1))
    for guid in (job_id.upper(), f"{job_id.upper()}.png"):
        assert client.get(f"/resize/{guid}").data == content
    for guid in (job_id.upper(), f"{job_id}.json", f"{job_id.upper()}.json/"):
        assert client.get(f"/resize/status/{guid}").get_json()["id"] == job_id
    assert client.get(f"/resize/status/{job_id}.xml").get_json()["code"] == "job_unknown"
    assert client.get(f"/resize/{job_id.upper()}/2w").data == content
    assert client.delete(f"/resize/{job_id.upper()}").status_code == 204
    assert client.get(f"/resize/{job_id}").status_code == 410


@pytest.mark.parametrize("suffix", ["png", "PNG"])
def test_the_ending_of_a_file_may_follow_the_guid(
    client: FlaskClient, job_id: str, finish: Callable[..., bytes], suffix: str
) -> None:
    assert client.get(f"/resize/{job_id}.{suffix}").get_json()["code"] == "job_not_done"
    content = finish(("image.png", "image/png", 2, 1), ("thumb", "image/webp", 2, 1), ("a.b", "image/webp", 2, 1))
    assert client.get(f"/resize/{job_id}.{suffix}").data == content
    first_webp = client.get(f"/resize/{job_id}.webp")
    assert (first_webp.status_code, first_webp.data) == (200, client.get(f"/resize/{job_id}/thumb").data)
    assert client.get(f"/resize/{job_id}/thumb.webp").data == first_webp.data
    assert client.get(f"/resize/{job_id}/a.b").data == client.get(f"/resize/{job_id}/a.b.webp").data != content
    for wrong in (".jpg", ".exe", ".", "/thumb.png", "/thumb.", "/.webp"):
        answer = client.get(f"/resize/{job_id}{wrong}")
        assert (answer.status_code, wrong) == (404, wrong)
    assert "image.png, thumb" in client.get(f"/resize/{job_id}.jpg").get_json()["detail"]


def test_a_range_is_for_get_alone(client: FlaskClient, job_id: str, finish: Callable[[], bytes]) -> None:
    """RFC 9110, 14.2."""
    content = finish()
    for wanted in ("bytes=0-9", "bytes=100000-"):
        head = client.head(f"/resize/{job_id}", headers={"Range": wanted})
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(content)))
        assert "Content-Range" not in head.headers


def test_what_is_saved_is_told_for_all_results_together(
    client: FlaskClient, job_id: str, finish: Callable[..., bytes], png: bytes
) -> None:
    waiting = client.get(f"/resize/status/{job_id}").get_json()
    assert (waiting["saved_bytes"], waiting["saved_percent"]) == (None, None)
    finish(("image.png", "image/png", 2, 1), ("thumb", "image/webp", 2, 1))  # of 500 bytes each
    status = client.get(f"/resize/status/{job_id}").get_json()
    saved = len(png) - 1000
    assert (status["saved_bytes"], status["saved_percent"]) == (saved, round(saved / len(png) * 100, 1))


def test_a_result_that_is_larger_than_its_upload_is_a_warning(
    client: FlaskClient, png: bytes, finish: Callable[..., bytes]
) -> None:
    for upload, expected in (
        (png, [f"the upload has {len(png)} bytes, image.png has 500 bytes, thumb has 500 bytes"]),
        (png + bytes(500 - len(png)), []),
    ):
        posted = client.post("/resize?width=2", data=upload)
        finish(("image.png", "image/png", 2, 1), ("thumb", "image/webp", 2, 1))
        warnings = client.get(posted.headers["Location"]).get_json()["warnings"]
        assert warnings == [{"code": "larger_than_upload", "detail": detail} for detail in expected]


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/limits", "/nowhere", f"/resize/{UNKNOWN}"])
def test_what_may_change_is_kept_by_no_cache(client: FlaskClient, work: Work, path: str) -> None:
    assert client.get(path).headers["Cache-Control"] == "no-store"
    work.announce()
    assert client.get(path).headers["Cache-Control"] == "no-store"


def test_health_says_nothing_of_engines(client: FlaskClient) -> None:
    assert client.get("/health").get_json() == {"status": "ok"}


def test_a_redirect_of_the_router_names_no_host(client: FlaskClient) -> None:
    """Behind a proxy it would be one that clients cannot reach."""
    answer = client.get("/health//ready?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/health/ready?x=1")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_condition_that_does_not_hold_is_412(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], method: str
) -> None:
    if method == "DELETE":
        assert client.delete(f"/resize/{job_id}", headers={"If-Match": "*"}).status_code == 412  # no result yet
    finish()
    whole = client.get(f"/resize/{job_id}")
    etag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    long_ago = "Thu, 01 Jan 2026 00:00:00 GMT"
    for wrong in (
        {"If-Match": '"another"'},
        {"If-Match": f"W/{etag}"},
        {"If-Unmodified-Since": long_ago},
        {"If-Match": '"another"', "If-Unmodified-Since": date},
    ):
        refused = client.open(f"/resize/{job_id}", method=method, headers=wrong)
        assert (refused.status_code, refused.get_json()["code"]) == (412, "precondition_failed"), wrong
    for right in ({"If-Match": f'"x", {etag}', "If-Unmodified-Since": long_ago}, {"If-Unmodified-Since": date}):
        assert client.open(f"/resize/{job_id}", method=method, headers=right).status_code in (200, 204)


@pytest.mark.parametrize("known", ["*", "its"])
def test_a_deletion_of_the_file_that_is_known_is_done(
    client: FlaskClient, job_id: str, finish: Callable[[], bytes], known: str
) -> None:
    finish()
    etag = client.get(f"/resize/{job_id}").headers["ETag"] if known == "its" else known
    for _ in range(2):
        assert client.delete(f"/resize/{job_id}", headers={"If-Match": etag}).status_code == 204
