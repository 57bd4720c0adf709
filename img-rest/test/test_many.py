"""More than one file in, more than one file out: watermarks, variants, and what a status says of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.job.formats import Format
from img_contract.ports import Claim, Jobs
from img_contract.volume.layout import Layout
from img_rest.requests.parameters import parse_accept

Finish = Callable[..., bytes]


def test_each_variant_is_fetched_by_its_name(client: FlaskClient, png: bytes, finish: Finish) -> None:
    job = client.post("/resize?variants=2w,4w.webp", data=png).get_json()["id"]
    assert client.get(f"/resize/{job}/2w").status_code == 409
    finish(("2w", "image/png", 2, 2), ("4w.webp", "image/webp", 4, 3))
    for name, kind, suffix in (("2w", "image/png", "2x2.png"), ("4w.webp", "image/webp", "4x3.webp")):
        answer = client.get(f"/resize/{job}/{name}")
        assert (answer.status_code, answer.content_type) == (200, kind)
        assert answer.data.startswith(name.encode())
        assert suffix in answer.headers["Content-Disposition"]
        assert client.get(f"/resize/{job}/{name}", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert client.get(f"/resize/{job}").data.startswith(b"2w"), "without a name, the first"


@pytest.mark.parametrize("name", ["3w", "2W", "..%2F..%2Fjob.json", "1-2w", "2w%00", "a" * 5000])
def test_a_name_that_is_no_results_is_404(client: FlaskClient, png: bytes, finish: Finish, name: str) -> None:
    job = client.post("/resize?variants=2w,4w", data=png).get_json()["id"]
    finish(("2w", "image/png", 2, 2), ("4w", "image/png", 4, 3))
    answer = client.get(f"/resize/{job}/{name}")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_the_status_has_every_result_and_a_srcset_for_those_of_one_shape(
    client: FlaskClient, png: bytes, finish: Finish
) -> None:
    job = client.post("/resize?variants=2w", data=png).get_json()["id"]
    results = [
        ("640w", "image/jpeg", 640, 427),
        ("320w", "image/jpeg", 320, 213),
        ("320w.webp", "image/webp", 320, 213),
        ("640w.webp", "image/webp", 640, 427),
        ("960w.avif", "image/avif", 960, 640),
        ("thumb", "image/jpeg", 200, 200),
    ]
    finish(*results)
    status = client.get(f"/resize/status/{job}").get_json()
    assert [(one["name"], one["media_type"], one["width"], one["height"]) for one in status["outputs"]] == results
    for one in status["outputs"]:
        fetched = client.get(one["href"])
        assert hashlib.sha256(fetched.data).hexdigest() == one["sha256"]
        assert one["saved_bytes"] == status["source"]["bytes"] - one["bytes"]
    at = f"/resize/{job}"
    assert status["srcset"] == f"{at}/320w 320w, {at}/640w 640w"
    assert status["sources"] == [
        {"media_type": "image/avif", "srcset": f"{at}/960w.avif 960w"},
        {"media_type": "image/webp", "srcset": f"{at}/320w.webp 320w, {at}/640w.webp 640w"},
        {"media_type": "image/jpeg", "srcset": f"{at}/320w 320w, {at}/640w 640w"},
    ]
    assert (status["dominant_color"], status["placeholder"]) == ("#ff0000", "aGFzaA==")


def test_two_types_of_one_width_each_are_two_sources(client: FlaskClient, png: bytes, finish: Finish) -> None:
    job = client.post("/resize?variants=2w", data=png).get_json()["id"]
    finish(("320w", "image/jpeg", 320, 213), ("640w.webp", "image/webp", 640, 427), ("thumb.avif", "image/avif", 9, 9))
    status = client.get(f"/resize/status/{job}").get_json()
    assert status["srcset"] is None, "an <img> names no types, so it has one"
    assert status["sources"] == [
        {"media_type": "image/webp", "srcset": f"/resize/{job}/640w.webp 640w"},
        {"media_type": "image/jpeg", "srcset": f"/resize/{job}/320w 320w"},
    ]


def test_one_result_has_no_srcset(client: FlaskClient, png: bytes, finish: Finish) -> None:
    job = client.post("/resize?width=2", data=png).get_json()["id"]
    finish()
    status = client.get(f"/resize/status/{job}").get_json()
    assert (status["srcset"], status["sources"]) == (None, [])


def with_watermark(picture: bytes, mark: bytes | None, **fields: Any) -> dict[str, Any]:
    files = {"file": (io.BytesIO(picture), "red.png")}
    if mark is not None:
        files["watermark"] = (io.BytesIO(mark), "mark.png")
    return {**files, **fields}


def test_a_watermark_is_kept_beside_the_picture(
    client: FlaskClient, png: bytes, layout: Layout, claimed: Callable[[], Claim]
) -> None:
    answer = client.post("/resize", data=with_watermark(png, png + b"!", width="2", watermark_opacity="0.5"))
    job_id = answer.get_json()["id"]
    claim = claimed()
    assert claim.job.watermark is not None
    assert (claim.job.watermark.format, claim.job.watermark.bytes) == ("png", len(png) + 1)
    with claim.files() as files:
        assert (files.source.read_bytes(), files.watermark.read_bytes()) == (png, png + b"!")
    client.delete(f"/resize/{job_id}")
    assert not (layout.folder(job_id) / "watermark").exists()


def test_a_form_that_says_the_defaults_of_a_watermark_needs_none(client: FlaskClient, png: bytes) -> None:
    """Swagger UI sends what is filled in beforehand."""
    fields = {"watermark_scale": "0.25", "watermark_opacity": "1", "watermark_gravity": "southeast"}
    assert client.post("/resize", data=with_watermark(png, None, width="2", **fields)).status_code == 202


def test_an_empty_watermark_is_none(client: FlaskClient, png: bytes, jobs: Jobs) -> None:
    """What a browser sends where no file was chosen."""
    parts = (("file", 'filename="a"', png), ("watermark", 'filename=""', b""), ("width", "x=y", b"2"))
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"; {more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, more, content in parts
    )
    answer = client.post("/resize", data=body + b"--b--\r\n", content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 202, answer.data
    job = jobs.status(answer.get_json()["id"]).job
    assert job is not None
    assert job.watermark is None


@pytest.mark.parametrize(
    ("mark", "fields", "status", "words"),
    [
        (b"plain words", {}, 415, "in the form field 'watermark'; found text"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100_000, {}, 413, "at most 100000 bytes"),
        (None, {"watermark_scale": "0.5"}, 422, "expected a picture in the form field 'watermark', found none"),
    ],
)
def test_a_watermark_is_refused_with_a_reason_and_leaves_nothing(
    client: FlaskClient, png: bytes, layout: Layout, mark: bytes | None, fields: Any, status: int, words: str
) -> None:
    answer = client.post("/resize", data=with_watermark(png, mark, width="2", **fields))
    assert answer.status_code == status
    assert words in answer.get_json()["detail"]
    assert layout.markers() == []
    assert list(layout.incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ()),
        ("*/*", ()),
        ("application/json", ()),
        ("image/*", ()),
        ("image/avif,image/webp,*/*", ("avif", "webp")),
        ("image/webp;q=0.8, image/avif;q=0", ("webp",)),
        ("image/auto", ()),
        ("IMAGE/AVIF", ("avif",)),
        ("image/png, image/png", ("png",)),
        (",;,", ()),
    ],
)
def test_the_accept_header_names_the_formats_that_the_client_accepts(
    header: str | None, expected: tuple[str, ...]
) -> None:
    assert set(parse_accept(header)) == {Format(name) for name in expected}


def test_what_the_client_accepts_is_in_the_job(client: FlaskClient, png: bytes, jobs: Jobs) -> None:
    answer = client.post("/resize?width=2&format=auto", data=png, headers={"Accept": "image/webp,*/*"})
    job = jobs.status(answer.get_json()["id"]).job
    assert job is not None
    assert (job.accept, job.resize.format) == (("webp",), "auto")


def test_all_faults_of_parameters_are_reported_at_once(client: FlaskClient, png: bytes) -> None:
    query = "width=0%25&crop=1,2&variants=x&rotate=45&blur=0&sharpen=x&effort=11&dpr=0&format=exe"
    answer = client.post(f"/resize?{query}", data=png)
    assert answer.status_code == 422
    named = [error["parameter"] for error in answer.get_json()["errors"]]
    assert sorted(named) == sorted(part.partition("=")[0] for part in query.split("&"))
