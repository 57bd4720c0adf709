"""TurboJPEG's planar calls, where the library is installed: a JPEG's luma and chroma as they are stored.

Pillow decodes to RGB, for which libjpeg enlarges the chroma and converts every pixel; writing a JPEG undoes both.
Debian has the library as libturbojpeg0; PyTurboJPEG, its Python binding, needs a newer one. The calls are those of
TurboJPEG 2 (https://libjpeg-turbo.org/Documentation), which version 3 has, too.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_ubyte, c_ulong, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from PIL import Image

_NAMES: Final = ("libturbojpeg.so.0", "libturbojpeg.dylib")

_YCBCR: Final = 1
_MCU: Final[dict[int, tuple[int, int]]] = {0: (1, 1), 1: (2, 1), 2: (2, 2), 4: (1, 2), 5: (4, 1)}
"""By TJSAMP: how many luma samples a chroma sample covers, across and down (4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1)."""

_QUARTER: Final = 2
"""TJSAMP_420."""

_PROGRESSIVE: Final = 16_384
_ACCURATE: Final = 4_096
"""Without it, version 2 transforms with less precision below a quality of 96, unlike libjpeg."""


@dataclass(frozen=True)
class Planes:
    """Y, Cb and Cr, each of mode L; chroma perhaps in fewer samples than luma."""

    images: tuple[Image.Image, Image.Image, Image.Image]
    covers: tuple[int, int]
    """How many luma samples a chroma sample covers, across and down."""


class TurboJpeg:
    """A decompressor and two compressors, for one thread."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name in ("tjInitDecompress", "tjInitCompress"):
            getattr(library, name).restype = c_void_p
        library.tjFree.argtypes = [POINTER(c_ubyte)]
        self._reader = c_void_p(library.tjInitDecompress())
        # By whether they write progressive JPEGs: a compressor keeps the Huffman tables that it made for one, and would
        # use them for the next JPEG that is not progressive, whose pixels they do not fit.
        self._writers = {progressive: c_void_p(library.tjInitCompress()) for progressive in (False, True)}

    def read(self, data: bytes, shrink: int) -> Planes | None:
        """Decode at 1/shrink (1, 2, 4 or 8). None if it is not YCbCr, or damaged in any way."""
        width, height, sampling, space = c_int(), c_int(), c_int(), c_int()
        failed = self._library.tjDecompressHeader3(
            self._reader, data, c_ulong(len(data)), byref(width), byref(height), byref(sampling), byref(space)
        )
        if failed or space.value != _YCBCR or sampling.value not in _MCU:
            return None
        across, down = _MCU[sampling.value]
        size = -(-width.value // shrink), -(-height.value // shrink)
        colours = -(-size[0] // across), -(-size[1] // down)
        sizes = [(colours[0] * across, colours[1] * down), colours, colours]
        buffers = [bytearray(columns * rows) for columns, rows in sizes]
        pointers = _pointers(buffers)
        if self._library.tjDecompressToYUVPlanes(
            self._reader, data, c_ulong(len(data)), pointers, size[0], None, size[1], 0
        ):
            return None
        y, cb, cr = (
            Image.frombuffer("L", columns_rows, buffer, "raw", "L", 0, 1)
            for columns_rows, buffer in zip(sizes, buffers, strict=True)
        )
        return Planes((y, cb, cr), (across, down))

    def write(self, planes: Planes, size: tuple[int, int], quality: int, *, progressive: bool) -> bytes:
        """Encode planes in 4:2:0, of that size in luma samples. Raises OSError with the library's message."""
        buffers = [bytearray(image.tobytes()) for image in planes.images]
        strides = (c_int * 3)(*(image.width for image in planes.images))
        writer = self._writers[progressive]
        target, length = POINTER(c_ubyte)(), c_ulong()
        failed = self._library.tjCompressFromYUVPlanes(
            writer,
            _pointers(buffers),
            size[0],
            strides,
            size[1],
            _QUARTER,
            byref(target),
            byref(length),
            quality,
            _ACCURATE | (_PROGRESSIVE if progressive else 0),
        )
        try:
            if failed:
                self._library.tjGetErrorStr2.restype = c_char_p
                raise OSError(self._library.tjGetErrorStr2(writer).decode(errors="replace"))
            return ctypes.string_at(target, length.value)
        finally:
            self._library.tjFree(target)


@lru_cache(maxsize=1)
def turbojpeg() -> TurboJpeg | None:
    """Return the one of this process, made at the first call; None where the library is not installed."""
    for name in _NAMES:
        with suppress(OSError, AttributeError):
            return TurboJpeg(ctypes.CDLL(name))
    return None


def _pointers(buffers: list[bytearray]) -> Any:
    return (c_void_p * 3)(*(ctypes.addressof(c_ubyte.from_buffer(buffer)) for buffer in buffers))
