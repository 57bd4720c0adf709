"""The pictures of an icon, checked before Pillow opens it and at once decodes the largest.

https://learn.microsoft.com/previous-versions/ms997538(v=msdn.10)
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from img_engine.render.reading.bmp import check_runs
from img_engine.render.reading.bounds import at_most
from img_engine.render.reading.png_chunks import SIGNATURE, look_through

MOST_PICTURES: Final = 64
"""Each is checked. Icons have one for each size and depth, some twenty."""

_COUNT_AT: Final = 4
_ENTRY: Final = struct.Struct("<12xI")
_SIZE_AT: Final = 16
"""The position of width and height in a PNG: in IHDR."""


def picture_sizes(file: BinaryIO) -> set[tuple[int, int]]:
    """Return width and height of its pictures by their own headers. Rewinds the file.

    Raises PictureRefused for one that would take long to read.
    """
    file.seek(_COUNT_AT)
    count = int.from_bytes(file.read(2), "little")
    at_most(MOST_PICTURES, count, "pictures in an icon")
    table = file.read(count * _ENTRY.size)
    sizes = set()
    for at in {at for (at,) in _ENTRY.iter_unpack(table[: len(table) - len(table) % _ENTRY.size])}:
        file.seek(at)
        head = file.read(_SIZE_AT + 8)
        if len(head) < _SIZE_AT + 8:
            continue
        if head.startswith(SIGNATURE):
            look_through(file, at)
            width, height = struct.unpack_from(">II", head, _SIZE_AT)
        else:
            check_runs(file, at)
            width, both = struct.unpack_from("<ii", head, 4)
            height = abs(both) // 2  # the colours, and the mask below them
        sizes.add((abs(width), height))
    file.seek(0)
    return sizes
