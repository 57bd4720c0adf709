"""What is no picture is refused by its first bytes; what begins as one comes out as nothing but that picture."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from img_testing.raw_http import crashes
from img_testing.service import Service
from img_testing.web import web
from img_testing.witness import TINY, all_jobs, picture
from PIL import Image

pytestmark = pytest.mark.faults

MARK: Final = b"PAYLOAD_THAT_MUST_NOT_COME_OUT"
SCRIPT: Final = b"<script>alert('" + MARK + b"')</script>"


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as one:
        one.writestr("evil.html", SCRIPT)
    return buffer.getvalue()


PDF: Final = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/OpenAction<</S/JavaScript/JS(" + MARK + b")>>>>\nendobj\n%%EOF\n"
SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>'
JPEG: Final = picture(kind="JPEG")
PNG: Final = picture()
GIF: Final = picture(kind="GIF")

NOT_PICTURES: Final[dict[str, bytes]] = {
    "SVG": SVG,
    "SVG after a declaration": b'<?xml version="1.0"?>\n' + SVG,
    "SVG after a BOM": b"\xef\xbb\xbf" + SVG,
    "SVG in UTF-16": SVG.decode().encode("utf-16"),
    "SVG after spaces": b"\n\n   \t" + SVG,
    "SVG in gzip": zlib.compress(SVG, wbits=31),
    "XML": b'<?xml version="1.0"?><a/>',
    "XXE": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "a billion laughs": b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><svg>&b;</svg>',
    "HTML": b"<!DOCTYPE html>" + SCRIPT,
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
    "EPS with a preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, 40, 0, 0, 0, 0, 0) + b"%!PS-Adobe-3.0 EPSF-3.0",
    "PostScript": b"%!PS\nsystemdict /eexec\n",
    "PDF": PDF,
    "PDF and JPEG": PDF + JPEG,
    "MVG": b"push graphic-context\nviewbox 0 0 9 9\nfill 'url(https://elsewhere/\"|id\")'\npop graphic-context\n",
    "MSL": b'<?xml version="1.0"?><image><read filename="/etc/passwd"/><write filename="/tmp/x"/></image>',
    "a caption of ImageMagick": b"caption:@/etc/passwd",
    "a URL": b"https://elsewhere/picture.png",
    "a path": b"/etc/passwd",
    "ZIP": archive(),
    "ZIP and JPEG": archive() + JPEG,
    "JavaScript": b"alert(1)//" + GIF,
    "PHP": b"<?php system($_GET['c']); ?>" + GIF,
    "a shell script": b"#!/bin/sh\nid\n",
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(100),
    "EXE": b"MZ" + bytes(100),
    "JPEG after a byte": b"\n" + JPEG,
    "PNG without its first byte": PNG[1:],
    "GIF of another version": b"GIF88a" + GIF[6:],
    "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
    "WAV": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
    "JPEG XL": b"\xff\x0a" + bytes(100),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "PSD": b"8BPS\0\1" + bytes(100),
    "PCX": b"\x0a\x05\x01\x08" + bytes(100),
    "PNM": b"P6\n9 9\n255\n" + bytes(243),
    "an icon's neighbour": b"\0\0\3\0\1\0" + bytes(100),
    "zeros": bytes(5000),
    "0xFF": b"\xff" * 5000,
    "one byte": b"G",
    "text": b"this is a text\n" * 100,
}


def in_a_comment(jpeg: bytes, payload: bytes) -> bytes:
    """As a COM segment behind SOI."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def text_chunk(png: bytes, payload: bytes) -> bytes:
    content = b"tEXtComment\0" + payload
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]


def gif_and_script() -> bytes:
    """`GIF89a` is an identifier, and the width of 0x2A2F begins a comment, if nobody looks at the rest."""
    comment = b"\x21\xfe" + bytes([len(SCRIPT)]) + SCRIPT + b"\0"
    head = 13 + 3 * 2 ** ((GIF[10] & 7) + 1) * (GIF[10] >> 7)
    return GIF[:head] + comment + GIF[head:] + b"*/=1;alert('" + MARK + b"')"


POLYGLOTS: Final[dict[str, bytes]] = {
    "GIF and JavaScript": gif_and_script(),
    "JPEG and ZIP": JPEG + archive() + MARK,
    "JPEG with HTML in a comment": in_a_comment(JPEG, SCRIPT),
    "JPEG with PDF in a comment": in_a_comment(JPEG, PDF) + PDF,
    "JPEG with PHP behind": JPEG + b"<?php " + MARK,
    "PNG with HTML in a text": text_chunk(PNG, SCRIPT),
    "PNG with HTML behind": PNG + SCRIPT,
    "PNG and ZIP": PNG + archive() + MARK,
    "BMP with HTML behind": picture(kind="BMP") + SCRIPT,
    "TIFF with HTML behind": picture(kind="TIFF") + SCRIPT,
    "WebP with HTML behind": picture(kind="WEBP") + SCRIPT,
}

KEPT: Final = [
    (name, "keep")
    for name in (
        "GIF and JavaScript",
        "JPEG with HTML in a comment",
        "JPEG with PDF in a comment",
        "PNG with HTML in a text",
    )
]
"""Where the trace is the picture's own comment, which was asked to be kept. It is sent as a picture all the same."""


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Iterator[Service]:
    running = standing()
    running.start_rest()
    running.start_engine()
    yield running
    assert crashes(running) == []


@pytest.mark.parametrize("kind", ["image/png", "image/svg+xml", "text/html", "application/x-www-form-urlencoded", ""])
def test_what_is_no_picture_is_refused_whatever_it_is_called(service: Service, kind: str) -> None:
    before = len(all_jobs(service.volume))
    for name, content in NOT_PICTURES.items():
        headers = {"Content-Type": kind} if kind else {}
        raw = web.post(f"{service.url}/resize?width=5", content=content, headers=headers, timeout=30)
        form = web.post(
            f"{service.url}/resize",
            files={"file": ("innocent.png", content, kind)},
            data={"width": 5},
            timeout=30,
        )
        for answer in (raw, form):
            assert (answer.status_code, answer.json()["code"]) == (415, "not_a_picture"), (name, answer.text)
            assert b"/etc/passwd" not in content or "root:" not in answer.text
            assert not re.search(r"<script", answer.text)
    mark = web.post(
        f"{service.url}/resize",
        files={"file": ("a.png", TINY), "watermark": ("a.svg", SVG)},
        data={"width": 5},
        timeout=30,
    )
    assert (mark.status_code, mark.json()["code"]) == (415, "not_a_picture")
    assert len(all_jobs(service.volume)) == before
    assert list((service.volume / "incoming").iterdir()) == []


def test_a_picture_is_one_whatever_it_is_called(service: Service) -> None:
    for name, kind in (
        ("a.svg", "image/svg+xml"),
        ("a.php", "text/html"),
        ("a.exe", "application/octet-stream"),
        ("a", "x"),
    ):
        answer = web.post(f"{service.url}/resize", files={"file": (name, PNG, kind)}, data={"width": 5}, timeout=30)
        assert answer.status_code == 202
        job_id = answer.json()["id"]
        assert service.ended(job_id).status == "done"
        fetched = web.get(f"{service.url}/resize/{job_id}", timeout=60)
        assert (fetched.headers["Content-Type"], fetched.headers["X-Content-Type-Options"]) == ("image/png", "nosniff")
        assert fetched.headers["Content-Disposition"].endswith(".png")


def test_a_polyglot_comes_out_as_nothing_but_its_picture(service: Service) -> None:
    sent = {
        (name, metadata): service.post(content, width=24, metadata=metadata)
        for name, content in POLYGLOTS.items()
        for metadata in ("strip", "keep")
    }
    for (name, metadata), job_id in sent.items():
        status = service.ended(job_id)
        assert status.status == "done", (name, status.error)
        fetched = web.get(f"{service.url}/resize/{job_id}", timeout=60)
        traces = () if (name, metadata) in KEPT else (MARK, b"<script", b"PK\x03\x04", b"%PDF", b"<?php")
        for trace in traces:
            assert trace not in fetched.content, (name, metadata, trace)
        with Image.open(io.BytesIO(fetched.content)) as image:
            image.load()
            assert image.size == (24, 16)
            assert image.get_format_mimetype() == fetched.headers["Content-Type"]
