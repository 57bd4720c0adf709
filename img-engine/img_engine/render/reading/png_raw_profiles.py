"""EXIF, IPTC and XMP in texts of a PNG, as programs write what has no chunk, or had none before 2017.

A line with the name, one with the length, then hexadecimal digits:
https://exiftool.org/TagNames/PNG.html#TextualData.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

_KEYWORDS: Final = {
    b"Raw profile type exif": "exif",
    b"Raw profile type APP1": "exif",
    b"Raw profile type iptc": "iptc",
    b"Raw profile type xmp": "xmp",
}
_MOST_TEXT: Final = 4 * 1024 * 1024
"""Two digits and some line ends for each byte."""

_DIGITS: Final = re.compile(rb"[0-9A-Fa-f\s]*")
_EXIF: Final = (b"Exif\0\0", b"II*\0", b"MM\0*")
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
"""In front of XMP that was a JPEG's segment, as some programs leave it."""


def raw_profile(kind: bytes, content: bytes) -> tuple[str, bytes]:
    """Return "exif", "iptc" or "xmp" and what it is, of a chunk of tEXt, zTXt or iTXt; nothing if it is damaged."""
    keyword, _, rest = content.partition(b"\0")
    name = _KEYWORDS.get(keyword, "")
    if not name:
        return "", b""
    try:
        found = _decoded(_text(kind, rest))
    except (ValueError, zlib.error):
        return "", b""
    if name == "exif" and not found.startswith(_EXIF):
        return ("xmp", found.removeprefix(_XMP)) if found.startswith(_XMP) else ("", b"")
    return name, found


def _text(kind: bytes, rest: bytes) -> bytes:
    """Return the text behind a keyword, cut off where it is too long."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return zlib.decompressobj().decompress(rest[1:], _MOST_TEXT)
    packed = rest[:1] == b"\1"
    _, _, text = rest[2:].partition(b"\0")[2].partition(b"\0")  # language, translated keyword
    return zlib.decompressobj().decompress(text, _MOST_TEXT) if packed else text


def _decoded(text: bytes) -> bytes:
    """Return the bytes that the digits stand for. Raises ValueError."""
    _, length, rest = text.split(None, 2)
    digits = _DIGITS.match(rest)  # some programs leave bytes behind them
    return bytes.fromhex("".join(digits[0].decode().split())[: 2 * int(length)] if digits else "")
