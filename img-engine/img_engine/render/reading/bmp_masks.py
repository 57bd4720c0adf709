"""BMPs whose pixels are 16 or 32 bits taken apart by masks; Pillow knows a few of the masks.

BI_BITFIELDS and BI_ALPHABITFIELDS: https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapv4header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode
from PIL import Image

from img_engine.render.formats import DECODERS
from img_engine.render.picture_faults import PictureRefused
from img_engine.render.reading.bmp_indexed import IndexedBmp, indexed_of
from img_engine.render.reading.read_here import ReadHere

_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_OS2: Final = 12, 16, 64
"""Sizes of OS/2's headers, in which 3 and 4 are other compressions."""

_INFO: Final = 40
_WITH_ALPHA: Final = 56
"""Bytes of a header from which on it has a mask for alpha."""

_DEPTHS: Final = {
    _RGB: (1, 4, 8, 16, 24, 32),
    _RLE8: (8,),
    _RLE4: (4,),
    _BITFIELDS: (16, 24, 32),
    _ALPHA_BITFIELDS: (16, 32),
}

_KNOWN: Final = frozenset(
    {
        (16, 0xF800, 0x7E0, 0x1F, 0),
        (16, 0x7C00, 0x3E0, 0x1F, 0),
        (24, 0xFF0000, 0xFF00, 0xFF, 0),
        (32, 0xFF0000, 0xFF00, 0xFF, 0),
        (32, 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    }
)
"""Masks with which Pillow reads pixels right."""

_BAND: Final = 1024 * 1024
"""Pixels that are taken apart at once."""


@dataclass(frozen=True)
class _Masked:
    size: tuple[int, int]
    upwards: bool
    bits: int
    masks: tuple[int, ...]
    """Red, green, blue and, if it has alpha, alpha."""
    at: int
    """Where the pixels begin."""


class MaskedBmp(ReadHere):
    """A BMP of masks that Pillow does not know."""

    format = "BMP"

    def __init__(self, file: BinaryIO, masked: _Masked) -> None:
        self._file, self._masked = file, masked
        super().__init__(file)

    def _open(self) -> None:
        self._mode = "RGBA" if len(self._masked.masks) > 3 else "RGB"  # noqa: PLR2004
        self._size = self._masked.size

    def _decoded(self) -> Image.Image:
        return _decoded(self._file, self._masked, self.mode)


def open_bmp(file: BinaryIO) -> Image.Image:
    """Open a BMP. Raises what Pillow raises, and PictureRefused for a kind that cannot be read."""
    head = file.read(14 + _WITH_ALPHA + 16)
    indexed = indexed_of(file, head)
    if indexed is not None:
        return IndexedBmp(file, indexed)
    masked = _masked(head)
    file.seek(0)
    return Image.open(file, formats=DECODERS[Format.BMP]) if masked is None else MaskedBmp(file, masked)


def _masked(head: bytes) -> _Masked | None:
    """Return how pixels are masked, if Pillow does not know it. Raises PictureRefused for what nothing here reads."""
    (size,) = struct.unpack_from("<I", head, 14)
    if size in _OS2 or len(head) < 14 + _INFO:
        return None
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    if bits not in _DEPTHS.get(compression, ()):
        raise _unsupported(f"compression {compression} and {bits} bits a pixel")
    if compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return None
    count = 4 if size >= _WITH_ALPHA or (compression == _ALPHA_BITFIELDS and size == _INFO) else 3
    masks = struct.unpack_from(f"<{count}I", head, 14 + _INFO)
    if compression == _BITFIELDS and (bits, *masks, 0)[:5] in _KNOWN:
        return None
    (at,) = struct.unpack_from("<I", head, 10)
    masks = masks if count == 4 and masks[3] else masks[:3]  # noqa: PLR2004
    if width < 1 or not height or bits not in (16, 32) or any(_steps(mask) & (_steps(mask) + 1) for mask in masks):
        raise _unsupported(f"masks of {', '.join(f'{mask:X}' for mask in masks)} in {bits} bits a pixel")
    return _Masked((width, abs(height)), height > 0, bits, masks, at)


def _steps(mask: int) -> int:
    """Return the highest value that the bits of a mask can have: all ones, if they lie side by side."""
    return mask // (mask & -mask) if mask else 0


def _decoded(file: BinaryIO, masked: _Masked, mode: str) -> Image.Image:
    """Decode band by band. Raises ValueError if pixels are missing."""
    width, height = masked.size
    row = -(-width * masked.bits // 32) * 4
    rows = max(1, _BAND // width)
    image = Image.new(mode, masked.size)
    file.seek(masked.at)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        data = file.read(row * count)
        if len(data) < row * count:
            raise ValueError("pixels are missing")
        words = np.frombuffer(data, f"<u{masked.bits // 8}").reshape(count, -1)[:, :width]
        pixels = np.stack([_channel(words, mask) for mask in masked.masks], axis=-1)
        if masked.upwards:
            image.paste(Image.fromarray(pixels[::-1].copy(), mode), (0, height - top - count))
        else:
            image.paste(Image.fromarray(pixels, mode), (0, top))
    return image


def _channel(words: Any, mask: int) -> Any:
    """Scale what is under a mask to 0…255."""
    if not mask:
        return np.zeros(words.shape, np.uint8)
    found = (words & words.dtype.type(mask)) // words.dtype.type(mask & -mask)
    return (found * (255.0 / _steps(mask)) + 0.5).astype(np.uint8)


def _unsupported(what: str) -> PictureRefused:
    return PictureRefused(FailureCode.PICTURE_UNSUPPORTED, f"a BMP with {what} cannot be read")
