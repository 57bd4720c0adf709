"""A faster decoder for the usual PNGs: inflated by libdeflate, unfiltered by libspng's vector code.

It is twice as fast as Pillow's own, which also cuts 16 bits a channel to 8 where this scales them. An unusual or
damaged file is left to Pillow, which also says what is wrong with it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import deflate
import numpy as np
import pyspng
from PIL import Image

from img_engine.render.reading.png_chunks import SIGNATURE, Header, chunks

_MOST_BYTES: Final = 96 * 1024 * 1024
"""Of unfiltered pixels, of which three copies are held at a time."""

_CHANNELS: Final = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
"""Pillow's mode by PNG's colour type; a palette (3) is decoded quickly anyway."""

_SIXTEEN: Final = 16
_GREY_WITH_ALPHA: Final = 4

_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Left, top, and steps across and down of the pictures of an interlaced one (8.2)."""

_STORED: Final = 65_535
"""Bytes of an uncompressed Deflate block, at most (RFC 1951, 3.2.4)."""


def read_png(data: bytes) -> Image.Image | None:
    """Decode as L, LA, RGB or RGBA of 8 bits; None for an unusual or damaged file."""
    try:
        found = list(chunks(data))
        header = Header.parse(found[0][1])
        clear = next((content for kind, content in found if kind == b"tRNS"), None)
        if not _usual(header, {kind for kind, _ in found}):
            return None
        packed = b"".join(content for kind, content in found if kind == b"IDAT")
        size = _raw_bytes(header)
        raw = deflate.zlib_decompress(packed, size)
        if len(raw) != size:
            return None
        mode = _CHANNELS[header.colour]
        if mode == "LA":
            # pyspng knows no such pixels. To the filters they look like RGBA of 8 bits.
            as_rgba = struct.pack(">IIBB2x?", header.width, header.height, 8, 6, header.interlaced)
            pixels = pyspng.load(_stored_png(as_rgba, raw)).view(">u2")
        else:
            pixels = pyspng.load(_stored_png(found[0][1], raw))
        if header.depth == _SIXTEEN:
            pixels, mode = _to_eight_bits(pixels, mode, clear)
    except Exception:  # noqa: BLE001  whatever it is, Pillow finds it, and words it better
        return None
    return Image.frombuffer(mode, (header.width, header.height), np.ascontiguousarray(pixels), "raw", mode, 0, 1)


def _usual(header: Header, kinds: set[bytes]) -> bool:
    """Return whether it is a still picture of 8 or 16 bits a channel, with tRNS only if of 16."""
    return (
        header.colour in _CHANNELS
        and header.depth in (8, _SIXTEEN)
        and not (header.depth == 8 and (b"tRNS" in kinds or header.colour == _GREY_WITH_ALPHA))  # noqa: PLR2004  bits; Pillow knows what to do
        and b"acTL" not in kinds
        and _raw_bytes(header) <= _MOST_BYTES
    )


def _raw_bytes(header: Header) -> int:
    """Return the bytes of all rows, each with its filter's number in front; interlaced, there are seven pictures."""
    pixel = len(_CHANNELS[header.colour]) * header.depth // 8
    size = 0
    for left, top, across, down in _ADAM7 if header.interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - header.width) // across), -((top - header.height) // down)
        size += rows * (1 + columns * pixel) if columns > 0 else 0
    return size


def _to_eight_bits(pixels: Any, mode: str, clear: memoryview | None) -> tuple[Any, str]:
    """Scale by 255 ÷ 65,535, rounded; apply tRNS, one transparent value. pyspng always adds an alpha channel."""
    seen = pixels[..., : len(mode)]
    eight = ((seen.astype(np.uint32) * 255 + 32_895) >> 16).astype(np.uint8)
    if clear is None or mode.endswith("A"):
        return eight, mode
    value = np.array(struct.unpack(f">{len(mode)}H", clear), dtype=np.uint16)
    alpha = np.where((seen == value).all(axis=-1), 0, 255).astype(np.uint8)
    channels = eight if mode == "RGB" else np.repeat(eight, 3, axis=-1)
    return np.dstack((channels, alpha)), "RGBA"


def _stored_png(header: memoryview | bytes, raw: bytes | bytearray) -> bytes:
    """Make a PNG whose Deflate stream is not compressed. libspng does not check the checksums of chunks."""
    view = memoryview(raw)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for at in range(0, len(view), _STORED):
        block = view[at : at + _STORED]
        last = at + _STORED >= len(view)
        parts += [struct.pack("<?HH", last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack(">I", deflate.adler32(raw)))
    length = sum(len(part) for part in parts)
    front: list[bytes | memoryview] = [
        SIGNATURE,
        struct.pack(">I4s", len(header), b"IHDR"),
        header,
        b"\0" * 4,
        struct.pack(">I4s", length, b"IDAT"),
    ]
    return b"".join([*front, *parts, b"\0" * 4, struct.pack(">I4s", 0, b"IEND"), b"\0" * 4])
