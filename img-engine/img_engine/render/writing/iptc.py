"""IPTC (IIM 4.2): where each format has it, its datasets, and the forms in which it is written.

JPEG and TIFF: Photoshop's resource 0x0404; TIFF also in a tag of its own; PNG: hexadecimal digits in a text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from img_contract.job.formats import Format

from img_engine.render.picture import Upload
from img_engine.render.reading.tiff_directories import read_bytes

IPTC_TAG: Final = 33_723
PHOTOSHOP_TAG: Final = 34_377

_RESOURCE: Final = 0x0404
_KNOWN: Final = frozenset({_RESOURCE, 0x0425, 0x03ED, 0x0409, 0x040C})
"""IPTC and its checksum, the resolution, thumbnails."""

_MOST_BYTES: Final = 65_533 - 30
"""Of IPTC in a segment."""

_CHARACTERS: Final = (1, 90)
_UTF_8: Final = b"\x1b%G"
_NAMES: Final = {(2, 80): "creator", (2, 110): "credit", (2, 116): "rights"}
"""By-line, credit, copyright notice."""


def read_iptc(upload: Upload) -> bytes:
    """Return the IPTC of an opened picture; nothing if there is none."""
    resources = upload.image.info.get("photoshop")
    found = resources.get(_RESOURCE) if isinstance(resources, dict) else upload.image.info.get("iptc")
    if isinstance(found, bytes) and found:
        return from_resources(found) or found
    return _of_tag(upload, IPTC_TAG).rstrip(b"\0") or from_resources(_of_tag(upload, PHOTOSHOP_TAG))


def _of_tag(upload: Upload, tag: int) -> bytes:
    if upload.format is not Format.TIFF:
        return b""
    upload.file.seek(0)
    try:
        return read_bytes(upload.file, tag)
    except (struct.error, ValueError, OverflowError):
        return b""


def from_resources(content: bytes) -> bytes:
    """Return the IPTC in Photoshop's resources; nothing if they have none."""
    return next((found for kind, found in _resources(content) if kind == _RESOURCE), b"")


def has_other_resources(upload: Upload) -> bool:
    """Return whether the picture has resources of Photoshop's of which nothing is kept."""
    resources = upload.image.info.get("photoshop")
    if isinstance(resources, dict):
        return bool(set(resources) - _KNOWN)
    content = _of_tag(upload, PHOTOSHOP_TAG) or upload.image.info.get("iptc") or b""
    return any(kind not in _KNOWN for kind, _ in _resources(content))


def _resources(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each resource, up to the first that is damaged."""
    at = 0
    while content[at : at + 4] == b"8BIM" and at + 12 <= len(content):
        (kind,) = struct.unpack_from(">H", content, at + 4)
        at += 6 + (content[at + 6] + 2) // 2 * 2
        if at + 4 > len(content):
            return
        (length,) = struct.unpack_from(">I", content, at)
        yield kind, content[at + 4 : at + 4 + length]
        at += 4 + length + length % 2


def of_the_author(iptc: bytes) -> bytes:
    """Return the datasets that name the author alone; nothing if there are none."""
    kept = [(kind, whole) for kind, whole in _datasets(iptc) if kind in _NAMES or kind == _CHARACTERS]
    return b"".join(whole for _, whole in kept) if any(kind in _NAMES for kind, _ in kept) else b""


def names(iptc: bytes) -> dict[str, str]:
    """Return creator, credit and rights, those that are there; several creators with commas between them."""
    found: dict[str, list[str]] = {}
    utf_8 = False
    for kind, whole in _datasets(iptc):
        content = whole[5:]
        utf_8 = utf_8 or (kind == _CHARACTERS and content == _UTF_8)
        if kind in _NAMES:
            found.setdefault(_NAMES[kind], []).append(_decoded(content, utf_8=utf_8))
    return {name: ", ".join(texts) for name, texts in found.items()}


def _decoded(content: bytes, *, utf_8: bool) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("utf-8" if utf_8 else "latin-1", errors="replace")
    return "".join(letter for letter in text if letter.isprintable())


def iptc_segment(iptc: bytes) -> bytes | None:
    """Return the segment of a JPEG that has it; None if it is too long."""
    if len(iptc) > _MOST_BYTES:
        return None
    content = b"Photoshop 3.0\0" + _resource(iptc)
    return struct.pack(">BBH", 0xFF, 0xED, len(content) + 2) + content


def iptc_text(iptc: bytes) -> tuple[str, str]:
    """Return keyword and text of a PNG that have it, as other programs write them."""
    content = _resource(iptc)
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return "Raw profile type iptc", f"\niptc\n{len(content):8d}\n{lines}\n"


def _resource(iptc: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def _datasets(iptc: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield record and number of each dataset, and its bytes, up to the first that is damaged or extended."""
    at = 0
    while at + 5 <= len(iptc) and iptc[at] == 0x1C:  # noqa: PLR2004  what a dataset begins with
        record, number, length = struct.unpack_from(">BBH", iptc, at + 1)
        if length & 0x8000 or at + 5 + length > len(iptc):
            return
        yield (record, number), iptc[at : at + 5 + length]
        at += 5 + length
