"""The chunks of a PNG, and the information in them that Pillow misses.

PNG, third edition, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image

from img_engine.render.reading.bounds import at_most

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MOST_CHUNKS: Final = 100_000
"""A file with more of them is refused."""

_MOST_PACKED: Final = 200
"""Chunks of text or of a profile that Pillow inflates, up to 1 MiB each, in one or two milliseconds."""

_PACKED: Final = frozenset({b"iCCP", b"zTXt", b"iTXt"})

_XMP: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Keyword, not compressed, no language, no translation."""

_DEPTH_AT: Final = len(SIGNATURE) + 16
"""The position of the bits per sample, in IHDR, the first chunk."""

_WIDENED: Final = {2: 85, 4: 17}
"""The factor by which Pillow widens grey samples of so many bits to eight."""


@dataclass(frozen=True)
class Header:
    """IHDR."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @classmethod
    def parse(cls, content: bytes | memoryview) -> Header:
        """Parse the chunk's content. Raises struct.error unless it has 13 bytes."""
        return cls(*struct.unpack(">IIBB2x?", content))


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and content of each chunk up to IEND. Raises ValueError, struct.error if one is cut off."""
    view = memoryview(data)
    at, kind, seen = len(SIGNATURE), b"", 0
    while kind != b"IEND":
        seen += 1
        if seen > MOST_CHUNKS:
            raise ValueError("more chunks than are usual")
        length, kind = struct.unpack_from(">I4s", view, at)
        content = view[at + 8 : at + 8 + length]
        if len(content) != length:
            raise ValueError("a chunk breaks off")
        yield kind, content
        at += 12 + length


@dataclass(frozen=True)
class Notes:
    """What Pillow does not report of a PNG, or only after decoding it."""

    depth: int
    """Bits of a sample."""
    exif: bytes = b""
    """EXIF that comes after the pixels."""
    xmp: bytes = b""


def look_through(file: BinaryIO, begin: int = 0) -> Notes:
    """Walk from chunk to chunk by their lengths, up to the first that leads nowhere. Rewinds the file.

    `begin`: where the PNG begins in the file. Raises PictureRefused for very many chunks, which Pillow would collect in
    memory, and for many that it would inflate.
    """
    file.seek(begin + _DEPTH_AT)
    depth = int.from_bytes(file.read(1), "big")
    exif = xmp = b""
    at, behind, packed = begin + len(SIGNATURE), False, 0
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":  # noqa: PLR2004  length and kind
            file.seek(0)
            return Notes(depth, exif, xmp)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        packed += kind in _PACKED
        at_most(_MOST_PACKED, packed, "chunks of iCCP, zTXt and iTXt")
        behind = behind or kind == b"IDAT"
        if behind and kind == b"eXIf":
            exif = exif or file.read(length)
        elif behind and kind == b"iTXt" and not xmp:
            content = file.read(length)
            xmp = content.removeprefix(_XMP) if content.startswith(_XMP) else b""
        at += 12 + length
    at_most(MOST_CHUNKS, MOST_CHUNKS + 1, "chunks")
    raise AssertionError  # it has raised


def complete(image: Image.Image, notes: Notes) -> None:
    """Add to an opened PNG the metadata after its pixels, and its transparent grey as Pillow widens samples.

    If `info` had no EXIF, Pillow would decode the whole picture to look for it, and hide errors while it does.
    """
    image.info.setdefault("exif", notes.exif)
    if notes.xmp:
        image.info.setdefault("xmp", notes.xmp)
    clear = image.info.get("transparency")
    if isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * _WIDENED.get(notes.depth, 1)
