"""The directories of a TIFF, walked before Pillow reads them: how many pages there are, and how much the first holds.

TIFF 6.0, section 2; BigTIFF, https://www.awaresystems.be/imaging/tiff/bigtiff.html. Pillow makes a Python number or
fraction of each value, and reads as many tags as a directory claims to have.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

from img_engine.render.reading.bounds import at_most

MOST_TAGS: Final = 4096
"""In the first directory. TIFF, EXIF and DNG together define fewer than a thousand."""

_MOST_TAGS_ELSEWHERE: Final = 65_535
"""The most that two bytes can say. In a sound picture, too, a pointer to EXIF may lead anywhere."""

MOST_VALUES: Final = 300_000
"""Numbers in the first page's directories. 65,535 rows, each a strip, have 131,070. Pillow reads 300,000 in 0.1 to
0.2 seconds."""

_OF_NUMBERS: Final = frozenset({3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16})
"""Types that Pillow converts to numbers. It keeps the bytes of BYTE, ASCII and UNDEFINED."""

_DIRECTORIES: Final = frozenset({0x8769, 0x8825, 0xA005})
"""Tags that lead to another directory: EXIF, GPS, interoperability (EXIF 2.32, 4.6.3)."""

_LEVELS: Final = 3

_OF_TYPES: Final = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
"""How struct reads the types; fractions (5, 10) are two numbers of 32 bits. What is not here is bytes."""

_SIZES: Final = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type; the others have one."""

_MOST_BYTES: Final = 1024 * 1024
"""Of a tag's bytes, those behind are not read."""

_FRACTIONS: Final = {5: "I", 10: "i"}

Tags = dict[int, tuple[float, ...]]
"""Values by number; those of RATIONAL are divided."""


class _Layout:
    """How one file stores numbers."""

    def __init__(self, head: bytes) -> None:
        self.order = order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        self.count = struct.Struct(order + ("Q" if self.big else "H"))
        self.tag = struct.Struct(order + ("HHQQ" if self.big else "HHII"))
        self.offset = struct.Struct(order + ("Q" if self.big else "I"))


def count_pages(file: BinaryIO, most: int) -> int:
    """Count the directories in the chain, `most` + 1 at most; a chain that leads back to itself ends there.

    Raises PictureRefused if the first holds more than a picture needs. Rewinds the file.
    """
    try:
        layout = _Layout(file.read(4))
        file.seek(8 if layout.big else 4)
        at = _number(file, layout.offset)
        at_most(MOST_TAGS, _begin(file, layout, at), "tags in its first directory")
        at_most(MOST_VALUES, _numbers(file, layout, at, _LEVELS), "numbers in its tags")
        seen: set[int] = set()
        while at and at not in seen and len(seen) <= most:
            tags = _begin(file, layout, at)
            if not 0 < tags <= _MOST_TAGS_ELSEWHERE:
                break  # no directory
            seen.add(at)
            file.seek(tags * layout.tag.size, 1)
            at = _number(file, layout.offset)
        return max(1, len(seen))
    finally:
        file.seek(0)


def read_tags(file: BinaryIO, wanted: frozenset[int]) -> Tags:
    """Read the wanted tags of the first directory, whose size `count_pages` has checked. Rewinds the file.

    Raises struct.error, ValueError for a value that is not in the file.
    """
    layout = _Layout(file.read(4))
    file.seek(8 if layout.big else 4)
    tags = _begin(file, layout, _number(file, layout.offset))
    table = file.read(tags * layout.tag.size)
    found: Tags = {}
    for at in range(0, len(table), layout.tag.size):
        tag, kind, count, _ = layout.tag.unpack_from(table, at)
        letter = _OF_TYPES.get(kind) or _FRACTIONS.get(kind)
        if tag not in wanted or letter is None:
            continue
        form = struct.Struct(f"{layout.order}{count * (1 + (kind in _FRACTIONS))}{letter}")
        inline = table[at + layout.tag.size - layout.offset.size : at + layout.tag.size]
        if form.size > len(inline):
            file.seek(layout.offset.unpack(inline)[0])
            inline = file.read(form.size)
        values = form.unpack(inline[: form.size])
        found[tag] = tuple(map(_divided, values[::2], values[1::2])) if kind in _FRACTIONS else values
    file.seek(0)
    return found


def read_bytes(file: BinaryIO, wanted: int) -> bytes:
    """Return the bytes of a tag of the first directory, whatever they say that they are; nothing if it is not there.

    Rewinds the file. Raises struct.error if the directory is damaged.
    """
    layout = _Layout(file.read(4))
    file.seek(8 if layout.big else 4)
    tags = _begin(file, layout, _number(file, layout.offset))
    table = file.read(tags * layout.tag.size)
    found = b""
    for at in range(0, len(table), layout.tag.size):
        tag, kind, count, place = layout.tag.unpack_from(table, at)
        if tag == wanted:
            size = count * _SIZES.get(kind, 1)
            if size <= layout.offset.size:
                found = table[at + layout.tag.size - layout.offset.size :][:size]
            else:
                file.seek(place)
                found = file.read(min(size, _MOST_BYTES))
            break
    file.seek(0)
    return found


def _divided(above: int, below: int) -> float:
    return above / below if below else 0.0


def byte_order(head: bytes) -> tuple[str, bool]:
    """Return "<" or ">" by a file's first four bytes, and whether it is a BigTIFF."""
    layout = _Layout(head)
    return layout.order, layout.big


def _numbers(file: BinaryIO, layout: _Layout, at: int, levels: int) -> int:
    """Count the numbers in the tags of a directory and of those that it leads to.

    Pillow follows EXIF and GPS from the first directory, and what EXIF says of interoperability: three levels. It
    leaves out what does not fit into the file.
    """
    size = file.seek(0, os.SEEK_END)
    tags = _begin(file, layout, at)
    at_most(_MOST_TAGS_ELSEWHERE, tags, "tags in a directory")
    table = file.read(tags * layout.tag.size)
    numbers, further = 0, dict[int, int]()
    for tag, kind, count, value in layout.tag.iter_unpack(table[: len(table) - len(table) % layout.tag.size]):
        numbers += count if kind in _OF_NUMBERS and count <= size else 0
        if tag in _DIRECTORIES:
            further.setdefault(tag, value)  # of two, the first counts
    return numbers + sum(_numbers(file, layout, there, levels - 1) for there in further.values() if levels > 1)


def _begin(file: BinaryIO, layout: _Layout, at: int) -> int:
    """Go to a directory, and return how many tags it claims to have; 0 if there is nothing."""
    if at >= 1 << 63:  # larger than any offset that seek takes
        return 0
    file.seek(at)
    return _number(file, layout.count)


def _number(file: BinaryIO, kind: struct.Struct) -> int:
    data = file.read(kind.size)
    return int(kind.unpack(data)[0]) if len(data) == kind.size else 0
