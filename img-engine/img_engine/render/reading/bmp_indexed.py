"""BMPs of palettes that Pillow does not read: 2 bits a pixel, and run lengths that leave out pixels or end early.

https://learn.microsoft.com/windows/win32/gdi/bitmap-compression; what is left out has the palette's first colour.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from img_engine.render.reading.read_here import ReadHere

RUNS: Final = {1: 8, 2: 4}
"""Bits a pixel of BI_RLE8 and BI_RLE4."""

TWO_BITS: Final = 2
_OLD: Final = 12
"""Bytes of OS/2's first header, whose palette has three bytes a colour."""

_END_OF_LINE, _END, _SKIP = 0, 1, 2


@dataclass(frozen=True)
class Indexed:
    """How the pixels of such a BMP are stored."""

    size: tuple[int, int]
    upwards: bool
    bits: int
    runs: bool
    at: int
    """Where the pixels begin."""
    palette: bytes
    """Red, green and blue of each colour."""


class IndexedBmp(ReadHere):
    """A BMP that is decoded here."""

    format = "BMP"

    def __init__(self, file: BinaryIO, indexed: Indexed) -> None:
        self._file, self._indexed = file, indexed
        super().__init__(file)

    def _open(self) -> None:
        self._mode, self._size = "P", self._indexed.size

    def _decoded(self) -> Image.Image:
        indexed = self._indexed
        self._file.seek(indexed.at)
        data = self._file.read()
        pixels = _from_runs(data, indexed) if indexed.runs else _from_bits(data, indexed)
        image = Image.fromarray(pixels[::-1].copy() if indexed.upwards else pixels)
        image.putpalette(indexed.palette.ljust(768, b"\0"))
        return image


def read_palette(file: BinaryIO, header: int, bits: int, at: int) -> bytes:
    """Return the palette between the header, of so many bytes, and the pixels."""
    size = 3 if header == _OLD else 4
    file.seek(14 + header)
    stored = file.read(min(size << bits, max(0, at - 14 - header)))
    return b"".join(stored[place : place + 3][::-1] for place in range(0, len(stored) - size + 1, size))


def _from_bits(data: bytes, indexed: Indexed) -> Any:
    """Take pixels of two bits apart. Raises ValueError if some are missing."""
    width, height = indexed.size
    row = -(-width * indexed.bits // 32) * 4
    if len(data) < row * height:
        raise ValueError("pixels are missing")
    stored = np.frombuffer(data, np.uint8, row * height).reshape(height, row)
    four = np.stack([stored >> shift & 3 for shift in (6, 4, 2, 0)], axis=-1)
    return four.reshape(height, -1)[:, :width].copy()


def _from_runs(data: bytes, indexed: Indexed) -> Any:
    """Undo the run lengths. Raises ValueError if they end without an end while pixels are missing."""
    width, height = indexed.size
    pixels, four = bytearray(width * height), indexed.bits == RUNS[2]
    at, x, y = 0, 0, 0
    while y < height:
        if at + 2 > len(data):
            if (x, y) == (width, height - 1):
                break
            raise ValueError("pixels are missing")
        count, value = data[at], data[at + 1]
        at += 2
        if count or value > _SKIP:
            if count:
                run = bytes((value >> 4, value & 15)) * (count // 2 + 1) if four else bytes((value,)) * count
            else:
                count, stored = value, data[at : at + (-(-value // 2) if four else value)]
                run = bytes(half for byte in stored for half in (byte >> 4, byte & 15)) if four else stored
                at += -(-len(stored) // 2) * 2
            run = run[: min(count, width - x)]
            pixels[y * width + x : y * width + x + len(run)] = run
            x = min(width, x + count)
        elif value == _END:
            break
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
        else:
            right, up = data[at : at + 2] if at + 2 <= len(data) else (0, height)
            at, x, y = at + 2, min(width, x + right), y + up
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def indexed_of(file: BinaryIO, head: bytes) -> Indexed | None:
    """Return how such a BMP is stored, by its first bytes; None for all others, and for damaged ones."""
    head = head.ljust(14 + 40, b"\0")
    at, header = struct.unpack_from("<I", head, 10)[0], struct.unpack_from("<I", head, 14)[0]
    if header == _OLD:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    runs = RUNS.get(compression) == bits
    if width < 1 or not height or not (runs or (bits == TWO_BITS and not compression)):
        return None
    palette = read_palette(file, header, bits, at)
    return Indexed((width, abs(height)), height > 0, bits, runs, at, palette)
