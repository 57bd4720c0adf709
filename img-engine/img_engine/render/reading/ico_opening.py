"""Opening an icon: its largest picture, of those the one of most colours.

https://learn.microsoft.com/previous-versions/ms997538(v=msdn.10). Pillow takes the one of fewest colours, loses the
transparency of a palette, and takes a picture whose alpha is 0 everywhere for invisible; its mask says what is.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from img_contract.job.formats import Format
from PIL import Image

from img_engine.render.formats import DECODERS
from img_engine.render.reading.bmp_masks import open_bmp
from img_engine.render.reading.ico import MOST_PICTURES
from img_engine.render.reading.png_chunks import SIGNATURE, look_through
from img_engine.render.reading.png_opening import open_png
from img_engine.render.reading.read_here import ReadHere

_ENTRY: Final = struct.Struct("<8xII")
_HEADER: Final = struct.Struct("<IiiHHI")
"""Its size, width, height of colours and mask, planes, bits, compression."""

_WITH_ALPHA: Final = 32
_COLOURS_USED_AT: Final = 32
_BITFIELDS: Final = 3
_INFO: Final = 40


@dataclass(frozen=True)
class _Entry:
    pixels: int
    bits: int
    at: int
    length: int


@dataclass(frozen=True)
class _Dib:
    size: tuple[int, int]
    bits: int
    begin: int
    """Where the colours begin."""
    data: bytes
    """From its header to its end."""


class IconPicture(ReadHere):
    """A picture of an icon that is no PNG: colours, and a mask or alpha."""

    format = "ICO"

    def __init__(self, dib: _Dib) -> None:
        self._dib = dib
        super().__init__(io.BytesIO(dib.data))

    def _open(self) -> None:
        self._mode, self._size = "RGBA", self._dib.size

    def _decoded(self) -> Image.Image:
        dib = self._dib
        head = struct.pack("<2sI4xI", b"BM", 14 + len(dib.data), 14 + dib.begin)
        height = struct.pack("<i", dib.size[1])
        with open_bmp(io.BytesIO(b"".join((head, dib.data[:8], height, dib.data[12:])))) as picture:
            image = picture.convert("RGB")
        image.putalpha(Image.fromarray(_alpha(dib)))
        return image


def open_icon(file: BinaryIO) -> Image.Image:
    """Open an icon whose pictures were checked. Raises what Pillow raises."""
    entries = _entries(file)
    if not entries:
        file.seek(0)
        return Image.open(file, formats=DECODERS[Format.ICO])
    best = max(entries, key=lambda one: (one.pixels, one.bits))
    file.seek(best.at)
    data = file.read(best.length)
    if data.startswith(SIGNATURE):
        image, _ = open_png(io.BytesIO(data), look_through(io.BytesIO(data)))
        return image
    return IconPicture(_dib(data))


def _entries(file: BinaryIO) -> list[_Entry]:
    file.seek(4)
    table = file.read(2 + 16 * MOST_PICTURES)
    found = []
    for number in range(min(int.from_bytes(table[:2], "little"), (len(table) - 2) // 16)):
        length, at = _ENTRY.unpack_from(table, 2 + 16 * number)
        file.seek(at)
        head = file.read(24)
        if len(head) < 24:  # noqa: PLR2004
            continue
        if head.startswith(SIGNATURE):
            width, height = struct.unpack_from(">II", head, 16)
            found.append(_Entry(width * height, _WITH_ALPHA + 1, at, length))
        else:
            _, width, both, _, bits, _ = _HEADER.unpack_from(head)
            found.append(_Entry(abs(width) * (abs(both) // 2), bits, at, length))
    return found


def _dib(data: bytes) -> _Dib:
    """Read the header. Raises ValueError, struct.error for one that makes no sense."""
    header, width, both, _, bits, compression = _HEADER.unpack_from(data)
    height = abs(both) // 2
    if header < _INFO or width < 1 or height < 1:
        raise ValueError("a picture of an icon has no pixels")
    (used,) = struct.unpack_from("<I", data, _COLOURS_USED_AT)
    palette = 4 * min(used or 1 << bits, 1 << bits) if bits <= 8 else 0  # noqa: PLR2004
    masks = 12 if compression == _BITFIELDS and header == _INFO else 0
    return _Dib((width, height), bits, header + masks + palette, data)


def _alpha(dib: _Dib) -> Any:
    """Return alpha from top to bottom: that of the colours, or else the mask's, in which 1 is invisible."""
    (width, height), end = dib.size, dib.begin + -(-dib.size[0] * dib.bits // 32) * 4 * dib.size[1]
    if dib.bits == _WITH_ALPHA:
        alpha = np.frombuffer(dib.data[dib.begin + 3 : end : 4], np.uint8).reshape(height, width)[::-1]
        if alpha.any():
            return alpha.copy()
    row = -(-width // 32) * 4
    if len(dib.data) < end + row * height:  # none, as icons of 32 bits may have it
        return np.full((height, width), 255, np.uint8)
    stored = np.frombuffer(dib.data, np.uint8, row * height, end).reshape(height, row)
    return (1 - np.unpackbits(stored, axis=1)[::-1, :width]) * np.uint8(255)
