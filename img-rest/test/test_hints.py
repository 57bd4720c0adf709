"""Slips that people make, and whether the answer says what to do."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from flask.testing import FlaskClient

URLENCODED = "application/x-www-form-urlencoded"


def part(name: str, content: bytes, more: str = "") -> dict[str, Any]:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
    return {"data": head + content + b"\r\n--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("widht", "width"),
        ("Width", "width"),
        ("w", "width"),
        ("q", "quality"),
        ("heigth", "height"),
        ("backgroud", "background"),
        ("greyscale", "grayscale"),
        ("watermark_gravty", "watermark_gravity"),
        ("waite", "wait"),
    ],
)
def test_a_slip_in_the_name_of_a_parameter_is_recognised(
    client: FlaskClient, png: bytes, name: str, meant: str
) -> None:
    errors = client.post(f"/resize?width=5&{name}=1", data=png).get_json()["errors"]
    assert errors == [
        {"parameter": name, "detail": f"expected the name of a parameter; did you mean {meant!r}?"},
    ]


@pytest.mark.parametrize("name", ["colour", "zzz", "callback_url"])
def test_a_name_like_no_other_gets_the_whole_list(client: FlaskClient, png: bytes, name: str) -> None:
    detail = client.post(f"/resize?width=5&{name}=1", data=png).get_json()["detail"]
    assert "expected one of the parameters width, height, fit" in detail


@pytest.mark.parametrize("field", ["file", "watermark"])
@pytest.mark.parametrize("name", ["photo.jpg", "/home/me/my photo.jpeg", "C:\\photos\\a.webp", "фото.png"])
def test_the_name_of_a_file_in_place_of_the_file_is_recognised(client: FlaskClient, field: str, name: str) -> None:
    answer = client.post("/resize?width=5", **part(field, name.encode()))
    assert (answer.status_code, answer.get_json()["code"]) == (415, "not_a_picture")
    assert f"forgot the @? -F {field}=@{name}" in answer.get_json()["detail"]


@pytest.mark.parametrize("content", [b"hello", b"<svg/>", b"a\nb.jpg", b"x" * 300 + b".jpg"])
def test_another_text_is_no_name_of_a_file(client: FlaskClient, content: bytes) -> None:
    assert "@" not in client.post("/resize?width=5", **part("file", content)).get_json()["detail"]


def test_a_text_that_was_sent_as_a_file_is_no_name_of_one(client: FlaskClient) -> None:
    answer = client.post("/resize?width=5", **part("file", b"photo.jpg", '; filename="list.txt"'))
    assert "@" not in answer.get_json()["detail"]
    assert "open that" not in answer.get_json()["detail"]


@pytest.mark.parametrize("filename", ["file", "upload", "blob"])
def test_a_path_that_a_library_sent_in_place_of_the_file_is_recognised(client: FlaskClient, filename: str) -> None:
    """As requests does with files={"file": "photo.jpg"}; httpx calls it `upload`, browsers `blob`."""
    answer = client.post("/resize?width=5", **part("file", b"photo.jpg", f'; filename="{filename}"'))
    assert (answer.status_code, answer.get_json()["code"]) == (415, "not_a_picture")
    assert "'photo.jpg' in the form field 'file'; open that file" in answer.get_json()["detail"]


@pytest.mark.parametrize("content", [b"data:image/webp;base64,UklGR", b"R0lGODlhAQABAIAAAAAAAP___yH5BAEAAAAALAAAAAAB"])
def test_a_picture_that_was_made_a_text_is_recognised_in_a_form(client: FlaskClient, content: bytes) -> None:
    detail = client.post("/resize?width=5", **part("file", content, '; filename="a.png"')).get_json()["detail"]
    assert "; send " in detail


@pytest.mark.parametrize(
    ("data", "headers", "hint"),
    [
        (b"file=photo.jpg&width=5", {"Content-Type": URLENCODED}, 'enctype="multipart/form-data"'),
        (b"file=photo.jpg\r\nwidth=5\r\n", {"Content-Type": "text/plain"}, 'enctype="multipart/form-data"'),
        (b"file=photo.jpg", {"Content-Type": URLENCODED}, 'enctype="multipart/form-data"'),
        (b"photo.jpg", {"Content-Type": URLENCODED}, "forgot the @? --data-binary @photo.jpg"),
        (b"photo.jpg", {"Content-Type": "image/jpeg"}, "forgot the @? --data-binary @photo.jpg"),
        (b"/home/me/pictures/holiday 2026/a photo.jpeg", {}, "holiday 2026/a photo.jpeg"),
        (b"data:image/png;base64,iVBORw0KGgo" + b"A" * 500, {}, "found a data: URL; send the bytes"),
        (b"iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmR", {}, "found a picture in base64; send its bytes"),
        (b'"_9j_4AAQSkZJRgABAQAAAQABAAD_2wBDAAUDBAQEAwUE' + b"A" * 500 + b'"', {}, "found a picture in base64"),
        (b'{"width": 5, "file": "..."}', {"Content-Type": "application/json"}, "not JSON"),
        (b"\x89PNG\x1a\0\0\0\rIHDR" + bytes(50), {"Content-Type": URLENCODED}, "use --data-binary"),
        (gzip.compress(bytes(100), mtime=0), {}, "without Content-Encoding (it is gzip)"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), {"Content-Encoding": "zstd"}, "without Content-Encoding (zstd)"),
    ],
)
def test_a_body_that_is_no_picture_is_explained(
    client: FlaskClient, data: bytes, headers: dict[str, str], hint: str
) -> None:
    answer = client.post("/resize?width=5", data=data, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (415, "not_a_picture")
    assert hint in answer.get_json()["detail"]


def test_a_form_that_was_compressed_is_explained(client: FlaskClient, png: bytes) -> None:
    body = part("file", png)
    answer = client.post(
        "/resize?width=5", **body | {"data": gzip.compress(body["data"], mtime=0)}, headers={"Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.get_json()["code"]) == (400, "upload_malformed")
    assert "without Content-Encoding (gzip)" in answer.get_json()["detail"]


def test_a_picture_that_lost_its_line_ends_is_refused(client: FlaskClient) -> None:
    """`curl --data @photo.jpg` leaves the first bytes of a JPEG as they are."""
    jpeg = b"\xff\xd8\xff\xe0" + bytes(range(1, 256)) * 20
    broken = jpeg.replace(b"\r", b"").replace(b"\n", b"")
    answer = client.post("/resize?width=5", data=broken, content_type=URLENCODED)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "upload_malformed")
    assert "use --data-binary" in answer.get_json()["detail"]
    for whole in (jpeg, broken + b"\0", broken + b"\r"):
        assert client.post("/resize?width=5", data=whole, content_type=URLENCODED).status_code == 202
    assert client.post("/resize?width=5", data=broken, content_type="image/jpeg").status_code == 202


def test_a_picture_may_be_posted_with_a_slash_at_the_end(client: FlaskClient, png: bytes) -> None:
    assert client.post("/resize/?width=5", data=png).status_code == 202
    assert client.get("/resize/").status_code == 405


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/reisze", "/resize"),
        ("/Resize", "/resize"),
        ("/upload", "/resize"),
        ("/api/v1/resize", "/resize"),
        ("/status/GUID", "/resize/status/GUID"),
        ("/jobs/GUID", "/resize/status/GUID"),
        ("/result/GUID", "/resize/GUID"),
        ("/healthz", "/health"),
        ("/ready", "/health/ready"),
        ("/status", "/stats"),
        ("/swagger", "/"),
        ("/limit", "/limits"),
        ("/App", "/app"),
    ],
)
def test_a_route_that_was_perhaps_meant_is_named(client: FlaskClient, path: str, meant: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "route_unknown")
    assert answer.get_json()["detail"].endswith(f"; did you mean {meant!r}?")


@pytest.mark.parametrize("path", ["/nowhere", "/wp-login.php", "/.env", "/limits/x/y", "/favicon.ico", "/a" * 3000])
def test_a_path_like_no_route_gets_no_guess(client: FlaskClient, path: str) -> None:
    assert client.get(path).get_json()["detail"] == "expected one of the routes that are documented at /"


def test_a_picture_without_a_file_name_is_still_a_picture(client: FlaskClient, png: bytes) -> None:
    assert client.post("/resize?width=5", **part("file", png)).status_code == 202
    assert client.post("/resize?width=5", data={"file": (io.BytesIO(png), "a.png")}).status_code == 202
