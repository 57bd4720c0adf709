"""The chunks of a PNG, and what Pillow makes too little of.

PNG, third edition, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MOST_CHUNKS: Final = 100_000
"""A file with more of them is not looked through."""

_XMP: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Keyword, not compressed, no language, no translation."""

_WIDENED: Final = {2: 85, 4: 17}
"""By what Pillow multiplies grey samples of so many bits, to have eight."""


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
        """Raises struct.error unless it has the 13 bytes that it should."""
        return cls(*struct.unpack(">IIBB2x?", content))


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk up to IEND. Raises ValueError, struct.error if they are not whole."""
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


def check_chunks(file: BinaryIO) -> None:
    """Raises ValueError for a file of very many chunks, which Pillow would gather in memory. Rewinds the file."""
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":  # noqa: PLR2004  length and kind
            file.seek(0)
            return
        at += 12 + int.from_bytes(head[:4], "big")
    raise ValueError(f"expected at most {MOST_CHUNKS} chunks, found more")


def complete(image: Image.Image, file: BinaryIO) -> None:
    """Give an opened PNG what stands behind its pixels, and a transparent grey in the samples that Pillow makes.

    Without EXIF, Pillow would decode the whole picture to look behind it, and at a time when nobody asks for errors.
    """
    found = {b"eXIf": b"", b"XMP": b""}
    for kind, content in _behind_pixels(file):
        found[kind] = found[kind] or content
    image.info.setdefault("exif", found[b"eXIf"])
    if found[b"XMP"]:
        image.info.setdefault("xmp", found[b"XMP"])
    file.seek(len(SIGNATURE) + 8)
    depth = Header.parse(file.read(13)).depth
    file.seek(0)
    clear = image.info.get("transparency")
    if isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * _WIDENED.get(depth, 1)


def _behind_pixels(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """EXIF and XMP behind the pixels. It goes by the chunks' lengths, and ends where they lead nowhere."""
    at, behind = len(SIGNATURE), False
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":  # noqa: PLR2004  length and kind
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        behind = behind or kind == b"IDAT"
        if behind and kind == b"eXIf":
            yield kind, file.read(length)
        elif behind and kind == b"iTXt":
            content = file.read(length)
            if content.startswith(_XMP):
                yield b"XMP", content.removeprefix(_XMP)
        at += 12 + length
