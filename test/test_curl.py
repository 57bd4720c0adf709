"""curl against the real service: the lines that people type and paste."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from img_testing.curl import curl
from img_testing.service import Service
from PIL import Image

pytestmark = pytest.mark.python_independent

PHOTO = ("-F", "file=@photo.jpg", "-F", "width=60")
PASTED = ("-H", "Content-Type: multipart/form-data", *PHOTO)


def is_picture(body: bytes) -> bool:
    with Image.open(io.BytesIO(body)) as image:
        return image.size == (60, 40)


def test_one_request_gives_the_picture(service: Service) -> None:
    status, body = curl("-H", "Accept: image/*", *PHOTO, f"{service.url}/resize?wait=30")
    assert (status, is_picture(body)) == (200, True)


def test_the_line_that_swagger_ui_shows_works_when_it_is_pasted(service: Service) -> None:
    line = ("-X", "POST", f"{service.url}/resize?wait=30", "-H", "accept: application/json", *PASTED)
    status, body = curl(*line)
    assert (status, json.loads(body)["status"]) == (303, "done")
    line = ("-X", "POST", f"{service.url}/resize?wait=30", "-H", "accept: image/jpeg", *PASTED)
    status, body = curl(*line)
    assert (status, is_picture(body)) == (200, True)


def test_a_post_that_is_repeated_at_the_redirect_is_told_why(service: Service) -> None:
    status, body = curl("-L", "-X", "POST", *PHOTO, f"{service.url}/resize?wait=30")
    assert status == 405
    assert "fetched with GET; with curl, leave out -X POST" in json.loads(body)["detail"]


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("日本.jpg", "image-60x40.jpg"),
        ("-rf.jpg", "rf-60x40.jpg"),
        ("blob", "blob-60x40.jpg"),
        ("новый файл.jpeg", "image-60x40.jpg"),
        ("x" * 300 + ".jpg", "x" * 100 + "-60x40.jpg"),
    ],
)
def test_a_download_gets_a_name_that_is_safe(service: Service, tmp_path: Path, name: str, saved: str) -> None:
    status, body = curl("-F", f"file=@photo.jpg;filename={name}", "-F", "width=60", f"{service.url}/resize?wait=30")
    assert status == 303
    curl("-OJ", f"{service.url}{json.loads(body)['links']['result']}", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [saved]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (("-F", "file=photo.jpg", "-F", "width=60"), "forgot the @? -F file=@photo.jpg"),
        (("-d", "@photo.jpg"), "use --data-binary"),
        (("-d", "file=photo.jpg&width=60"), 'enctype="multipart/form-data"'),
        (("-H", "Content-Type: application/json", "-d", '{"width": 60}'), "not JSON"),
        (("-F", "file=@photo.jpg", "-F", "widht=60"), "did you mean 'width'?"),
        (("-T", "photo.jpg"), "with curl -T, add -X POST"),
    ],
)
def test_a_slip_is_answered_with_the_way_out(service: Service, line: tuple[str, ...], hint: str) -> None:
    status, body = curl(*line, f"{service.url}/resize?width=60" if line[0] in ("-d", "-H") else f"{service.url}/resize")
    assert 400 <= status < 500
    assert hint in json.loads(body)["detail"]


def test_a_slash_at_the_end_and_a_file_s_ending_do_no_harm(service: Service) -> None:
    status, body = curl(*PHOTO, f"{service.url}/resize/?wait=30")
    assert status == 303
    result = service.url + json.loads(body)["links"]["result"]
    for ending in (".jpg", ".jpeg", ".JPG"):
        status, body = curl(result + ending)
        assert (status, is_picture(body)) == (200, True)
    status, body = curl(f"{result}.png")
    assert (status, json.loads(body)["code"]) == (404, "result_unknown")


def test_a_head_with_a_range_is_about_the_whole_file(service: Service) -> None:
    _, body = curl(*PHOTO, f"{service.url}/resize?wait=30")
    result = service.url + json.loads(body)["links"]["result"]
    assert curl("-I", "-r", "0-9", result)[0] == 200
    assert curl("-r", "0-9", result)[0] == 206
