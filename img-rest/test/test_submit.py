"""POST /resize: both kinds of body, every refusal, and that a refusal leaves nothing behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.ports import Jobs
from img_contract.volume.layout import Layout
from img_rest.app import create_app
from img_rest.requests.form import tidy_filename
from werkzeug.test import TestResponse


def problem(answer: TestResponse, status: int, code: str) -> Any:
    assert answer.content_type == "application/problem+json", answer.data
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["detail"]
    assert body["title"]
    assert body["instance"] == "/resize"
    return body


@pytest.fixture(autouse=True)
def _nothing_is_left_in_incoming(layout: Layout) -> Any:
    yield
    assert list(layout.incoming.iterdir()) == []


def form(png: bytes, **fields: Any) -> dict[str, Any]:
    return {"file": (io.BytesIO(png), "red.png"), **fields}


def test_parameters_may_be_in_the_form_and_in_the_query(client: FlaskClient, png: bytes, jobs: Jobs) -> None:
    answer = client.post("/resize?fit=cover&quality=70", data=form(png, width="20", height="10"))
    job = jobs.status(answer.get_json()["id"]).job
    assert job is not None
    options = job.resize
    assert (options.width, options.height, options.fit, options.quality) == (20, 10, "cover", 70)


def test_the_file_may_come_before_or_after_its_parameters(client: FlaskClient, png: bytes) -> None:
    for order in (("file", "width"), ("width", "file")):
        parts = {"file": (io.BytesIO(png), "red.png"), "width": "20"}
        answer = client.post("/resize", data={name: parts[name] for name in order})
        assert answer.status_code == 202


def body_of(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A form as browsers and curl write it: (what follows form-data, content) for each part."""
    raw = b"".join(
        b"--b0undary\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return {"data": raw + b"--b0undary--\r\n", "content_type": "multipart/form-data; boundary=b0undary"}


def test_an_empty_parameter_is_one_that_was_left_out(client: FlaskClient, png: bytes) -> None:
    body = body_of(('name="file"', png), ('name="width"', b"20"), ('name="height"', b""), ('name="fit"', b" "))
    assert client.post("/resize", **body).status_code == 202


def test_what_is_stored_is_what_was_sent(client: FlaskClient, png: bytes, layout: Layout) -> None:
    data = png + bytes(range(256)) * 300  # crosses several portions, and looks like anything
    for answer in (
        client.post("/resize", data=form(data, width="2")),
        client.post("/resize?width=2", data=data, content_type="application/octet-stream"),
    ):
        assert (layout.folder(answer.get_json()["id"]) / "source").read_bytes() == data


@pytest.mark.parametrize("body", [b"--\r\n--boundary", b"\r\n--boundary-", b"\r", b"\n", b"--boundary--"])
def test_content_that_looks_like_a_boundary_is_kept(
    client: FlaskClient, png: bytes, layout: Layout, body: bytes
) -> None:
    data = png + body
    raw = (
        b'--boundaryX\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + data
        + b'\r\n--boundaryX\r\nContent-Disposition: form-data; name="width"\r\n\r\n5\r\n--boundaryX--\r\n'
    )
    answer = client.post("/resize", data=raw, content_type="multipart/form-data; boundary=boundaryX")
    assert (layout.folder(answer.get_json()["id"]) / "source").read_bytes() == data


def test_a_missing_file_is_400(client: FlaskClient) -> None:
    problem(client.post("/resize", data={"width": "5"}, content_type="multipart/form-data"), 400, "upload_missing")
    problem(client.post("/resize?width=5"), 400, "upload_missing")
    problem(client.post("/resize", data={"width": "5"}), 415, "not_a_picture")


def test_a_file_in_another_field_is_named(client: FlaskClient, png: bytes) -> None:
    answer = client.post("/resize", data={"image": (io.BytesIO(png), "red.png"), "width": "5"})
    detail = problem(answer, 400, "upload_missing")["detail"]
    assert detail == "expected the picture in the form field 'file', found a file in 'image'"


def test_an_empty_file_is_400(client: FlaskClient) -> None:
    body = body_of(('name="file"; filename="empty.jpg"', b""), ('name="width"', b"5"))
    problem(client.post("/resize", **body), 400, "upload_missing")


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"],
)
def test_a_form_whose_boundary_is_wrong_is_400(client: FlaskClient, content_type: str) -> None:
    raw = b'--right\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--right--\r\n'
    problem(client.post("/resize", data=raw, content_type=content_type), 400, "upload_malformed")


@pytest.mark.parametrize("missing", [5, 10, 30, 80, 130])
def test_a_form_that_breaks_off_is_400(client: FlaskClient, png: bytes, missing: int) -> None:
    body = body_of(('name="file"; filename="a"', png))
    problem(client.post("/resize?width=5", **body | {"data": body["data"][:-missing]}), 400, "upload_malformed")


def test_a_raw_body_that_breaks_off_is_400(client: FlaskClient, png: bytes) -> None:
    answer = client.post(
        "/resize?width=5",
        input_stream=io.BytesIO(png[:40]),
        environ_overrides={"CONTENT_LENGTH": str(len(png))},
        content_type="image/png",
    )
    assert "expected a body of" in problem(answer, 400, "upload_malformed")["detail"]


def test_a_raw_body_of_unknown_length_is_411(client: FlaskClient, png: bytes) -> None:
    answer = client.post(
        "/resize?width=5",
        input_stream=io.BytesIO(png),
        headers={"Transfer-Encoding": "chunked"},
        content_type="image/png",
    )
    problem(answer, 411, "length_required")


def test_two_files_are_400(client: FlaskClient, png: bytes) -> None:
    files = [(io.BytesIO(png), "a.png"), (io.BytesIO(png), "b.png")]
    problem(client.post("/resize", data={"file": files, "width": "5"}), 400, "upload_malformed")


def test_too_many_or_too_long_fields_are_413_with_both_numbers(client: FlaskClient, png: bytes) -> None:
    many = {f"field{number}": "1" for number in range(100)}
    body = problem(client.post("/resize", data=form(png, width="5", **many)), 413, "form_too_large")
    assert (body["limit"], body["actual"]) == (64, 65)
    body = problem(client.post("/resize", data=form(png, width="5" * 5000)), 413, "form_too_large")
    assert (body["limit"], body["actual"]) == (4096, 5000)


def test_an_upload_that_is_too_large_is_413_with_both_numbers(client: FlaskClient, png: bytes, config: Config) -> None:
    large = png + bytes(config.limits.upload_bytes)
    for answer in (
        client.post("/resize", data=form(large, width="5")),
        client.post("/resize?width=5", data=large, content_type="image/png"),
    ):
        body = problem(answer, 413, "upload_too_large")
        assert body["limit"] == config.limits.upload_bytes
        assert body["actual"] > body["limit"]


def test_all_of_an_upload_that_is_not_much_too_large_is_read(jobs: Jobs, png: bytes, config: Config) -> None:
    """A client that sends without looking, as fetch in Node does, sees the answer only after its last byte."""
    limits = config.limits.model_copy(update={"upload_bytes": 1_000_000})
    client = create_app(config.model_copy(update={"limits": limits}), jobs).test_client()
    for size, left in ((1_900_000, False), (5_000_000, True)):
        body = io.BytesIO(png + bytes(size - len(png)))
        problem(client.post("/resize?width=5", input_stream=body, content_length=size), 413, "upload_too_large")
        assert bool(body.read(1)) is left


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"hello, this is a text and no picture", "text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "markup"),
        (b"%PDF-1.7 and so on and so forth, for long", "a PDF document"),
        (b"\0" * 100, "zeros"),
        (b"\x7fELF\2\1\1" + bytes(range(40)), "first bytes 7f 45 4c 46"),
        (b"x", "text"),
    ],
)
def test_what_is_no_picture_is_415_whatever_its_name(client: FlaskClient, data: bytes, found: str) -> None:
    answer = client.post("/resize", data={"file": (io.BytesIO(data), "photo.jpg", "image/jpeg"), "width": "5"})
    detail = problem(answer, 415, "not_a_picture")["detail"]
    assert detail.startswith("expected one of jpeg, png,")
    assert found in detail


def test_a_format_that_is_not_accepted_here_is_415(jobs: Jobs, config: Config) -> None:
    limits = config.limits.model_copy(update={"accept": ("jpeg",)})
    client = create_app(config.model_copy(update={"limits": limits}), jobs).test_client()
    answer = client.post("/resize", data=form(b"GIF89a" + bytes(40), width="5"))
    assert problem(answer, 415, "not_a_picture")["detail"] == "expected one of jpeg; found a gif picture"


def test_all_refused_parameters_are_reported_at_once(client: FlaskClient, png: bytes) -> None:
    answer = client.post("/resize?colour=red", data=form(png, width="0", quality="many", fit="stretch"))
    errors = {error["parameter"]: error["detail"] for error in problem(answer, 422, "parameters_invalid")["errors"]}
    assert set(errors) == {"colour", "width", "quality", "fit"}
    assert errors["width"] == "expected at least 1, found '0'"
    assert "width, height, fit" in errors["colour"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "width"),
        ("width=99999999999999999999999", "width"),
        ("width=" + "9" * 5000, "width"),
        ("width=5&width=6", "width"),
        ("width=5&wait=5&wait=6", "wait"),
        ("width=5&wait=-1", "wait"),
        ("width=5&wait=nan", "wait"),
        ("width=5&wait=inf", "wait"),
        ("width=5&wait=9999", "wait"),
        ("width=5&wait=soon", "wait"),
        ("width=5&%00=1", "\0"),
    ],
)
def test_a_refused_parameter_is_named(client: FlaskClient, png: bytes, query: str, parameter: str) -> None:
    body = problem(client.post(f"/resize?{query}", data=png), 422, "parameters_invalid")
    assert parameter in {error["parameter"] for error in body["errors"]}


def test_a_full_queue_is_503_and_says_when_to_try_again(
    client: FlaskClient, png: bytes, config: Config, layout: Layout, jobs: Jobs
) -> None:
    for _ in range(config.limits.queue):
        assert client.post("/resize?width=5", data=png).status_code == 202
    answer = client.post("/resize?width=5", data=png)
    body = problem(answer, 503, "queue_full")
    assert (body["limit"], body["actual"]) == (config.limits.queue, config.limits.queue)
    assert int(answer.headers["Retry-After"]) > 0
    jobs.cancel(layout.markers()[0].name)
    assert client.post("/resize?width=5", data=png).status_code == 202


def test_a_volume_without_room_is_507(jobs: Jobs, png: bytes, config: Config) -> None:
    limits = config.limits.model_copy(update={"free_bytes": 10**18})
    app = create_app(config.model_copy(update={"limits": limits}), jobs)
    assert problem(app.test_client().post("/resize?width=5", data=png), 507, "volume_full")["limit"] == 10**18


@pytest.mark.parametrize(
    ("error", "status", "code"), [("ENOSPC", 507, "volume_full"), ("EIO", 503, "volume_unavailable")]
)
def test_a_write_that_fails_is_never_acknowledged(
    client: FlaskClient,
    png: bytes,
    layout: Layout,
    failing: Callable[[str], Any],
    error: str,
    status: int,
    code: str,
) -> None:
    with failing(f"storage.fsync={error}"):
        problem(client.post("/resize?width=5", data=png), status, code)
    assert layout.markers() == []


def test_a_charset_that_a_part_claims_is_ignored(client: FlaskClient, png: bytes) -> None:
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="width"\r\nContent-Type: text/plain; charset="a\0b"\r\n\r\n5\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + png + b"\r\n--b--\r\n"
    )
    assert client.post("/resize", data=raw, content_type="multipart/form-data; boundary=b").status_code == 202


@pytest.mark.parametrize(
    ("given", "tidy"),
    [
        (None, None),
        ("", None),
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("a\r\nSet-Cookie: x=1.jpg", "aSet-Cookie: x=1.jpg"),
        ("gpj.\u202eexe.jpg", "gpj.exe.jpg"),
        ("x" * 10_000, "x" * 255),
        ("\0", None),
        ("Füße.jpg", "Füße.jpg"),
    ],
)
def test_a_file_name_is_tidied(given: str | None, tidy: str | None) -> None:
    assert tidy_filename(given) == tidy


def test_a_hostile_file_name_reaches_no_path_and_no_header(
    client: FlaskClient, png: bytes, finish: Callable[[], bytes], tmp_path: Path
) -> None:
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../x%0D%0ASet-Cookie: a=\xe2\x80\xaeb.png"'
        b"\r\n\r\n" + png + b"\r\n--b--\r\n"
    )
    answer = client.post("/resize?width=5", data=raw, content_type="multipart/form-data; boundary=b")
    finish()
    fetched = client.get(answer.get_json()["links"]["result"])
    assert "Set-Cookie" not in fetched.headers
    assert "\u202e" not in fetched.headers["Content-Disposition"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["volume"]


@pytest.mark.parametrize("number", ["80.0", "1_0", "+80", "8e1", "0x50", "\u0668\u0660", "nan"])
def test_a_number_is_written_as_people_write_it(client: FlaskClient, png: bytes, number: str) -> None:
    body = problem(client.post("/resize", data=form(png, width="5", quality=number)), 422, "parameters_invalid")
    assert body["errors"] == [{"parameter": "quality", "detail": f"expected a whole number, found {number!r}"}]
