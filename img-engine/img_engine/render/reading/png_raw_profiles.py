"""EXIF in a text of a PNG, as programs wrote it before there was a chunk for it (2017).

A line with the name, one with the length, then hexadecimal digits:
https://exiftool.org/TagNames/PNG.html#TextualData.
"""

from __future__ import annotations

import zlib
from typing import Final

_KEYWORDS: Final = (b"Raw profile type exif", b"Raw profile type APP1")
_MOST_TEXT: Final = 4 * 1024 * 1024
"""Two digits and some line ends for each byte."""

_EXIF: Final = (b"Exif\0\0", b"II*\0", b"MM\0*")


def raw_exif(kind: bytes, content: bytes) -> bytes:
    """Return the EXIF in a chunk of tEXt, zTXt or iTXt; nothing if it has none, or a damaged one."""
    keyword, _, rest = content.partition(b"\0")
    if keyword not in _KEYWORDS:
        return b""
    try:
        found = _decoded(_text(kind, rest))
    except (ValueError, zlib.error):
        return b""
    return found if found.startswith(_EXIF) else b""


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
    _, length, digits = text.split(None, 2)
    return bytes.fromhex(digits.decode("ascii"))[: int(length)]
