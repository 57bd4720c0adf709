"""The samples of a TIFF, strip by strip or tile by tile: libtiff unpacks the bytes, and what they mean is told here.

Each group of segments is handed to Pillow as a TIFF of its own whose pixels are bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from img_engine.render.reading.tiff_layout import (
    DIFFERENCES,
    FLOAT,
    FLOAT_DIFFERENCES,
    RAW,
    SIGNED,
    UNSIGNED,
    WEBP,
    TiffLayout,
)
from img_engine.render.reading.webp import webp_canvas

_GROUP_BYTES: Final = 4 * 1024 * 1024
"""So many are unpacked at once, or those of a single segment."""

_BAND_SAMPLES: Final = 1024 * 1024
_LETTERS: Final = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}
_REVERSED: Final = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))

Samples = Any
"""Rows × columns × channels, of the file's own type."""


def bands(file: BinaryIO, layout: TiffLayout) -> Iterator[tuple[int, Samples]]:
    """Yield the picture from top to bottom: the number of the first row, and the rows' samples."""
    group = max(1, _GROUP_BYTES // (layout.row_bytes * layout.segment[1])) if layout.across == 1 else 1
    band = max(1, _BAND_SAMPLES // (layout.across * layout.segment[0] * layout.channels))
    for first in range(0, layout.down, group):
        top = first * layout.segment[1]
        rows = min(group * layout.segment[1], layout.size[1] - top)
        planes = [_unpacked(file, layout, plane, first, group) for plane in range(layout.planes)]
        for begin in range(0, rows, band):
            end = min(rows, begin + band)
            found = [_samples(_rows(plane, layout, begin, end), layout) for plane in planes]
            yield top + begin, found[0] if len(found) == 1 else np.concatenate(found, axis=-1)


def group_bytes(layout: TiffLayout) -> int:
    """Return the bytes of memory that a group takes: packed, unpacked."""
    segment = layout.row_bytes * layout.segment[1]
    return 2 * layout.planes * max(_GROUP_BYTES, segment * layout.across)


def _unpacked(file: BinaryIO, layout: TiffLayout, plane: int, first: int, group: int) -> Image.Image:
    """Return the bytes of a group of rows of segments, segment below segment, as a grey picture."""
    last = min(first + group, layout.down)
    before = plane * layout.across * layout.down
    height = layout.segment[1]
    # A strip at the end has only the rows that the picture has; a tile is always whole.
    rows = (
        min(last * height, layout.size[1]) - first * height
        if layout.across == 1 and layout.segment[0] == layout.size[0]
        else None
    )
    segments = []
    for number in range(before + first * layout.across, before + last * layout.across):
        file.seek(layout.offsets[number])
        most = layout.row_bytes * height if layout.compression == RAW else layout.counts[number]
        segments.append(file.read(min(layout.counts[number], most)))
    size = layout.row_bytes, height * len(segments) if rows is None else rows
    if layout.compression == WEBP:
        return _from_webp(segments, layout, size)
    if layout.compression == RAW:
        whole = b"".join(segments)
        if layout.bits_reversed:
            whole = whole.translate(_REVERSED)
        return Image.frombuffer("L", size, whole, "raw", "L", 0, 1)
    with Image.open(io.BytesIO(_as_bytes(segments, layout, size)), formats=("TIFF",)) as image:
        image.load()
        return image


def _as_bytes(segments: list[bytes], layout: TiffLayout, size: tuple[int, int]) -> bytes:
    """Return a TIFF whose pixels are the bytes of these segments."""
    count, tags = len(segments), 10
    behind = 8 + 2 + 12 * tags + 4
    starts, at = [], behind + 8 * count
    for segment in segments:
        starts.append(at)
        at += len(segment)
    # Of a single number the tag itself holds the value.
    places = (behind, behind + 4 * count) if count > 1 else (starts[0], len(segments[0]))
    numbers = (
        (256, 4, 1, size[0]),
        (257, 4, 1, size[1]),
        (258, 3, 1, 8),
        (259, 3, 1, layout.compression),
        (262, 3, 1, 1),
        (266, 3, 1, 2 if layout.bits_reversed else 1),
        (273, 4, count, places[0]),
        (277, 3, 1, 1),
        (278, 4, 1, layout.segment[1]),
        (279, 4, count, places[1]),
    )
    head = b"II*\0" + struct.pack("<IH", 8, tags) + b"".join(struct.pack("<HHII", *tag) for tag in numbers) + bytes(4)
    lists = struct.pack(f"<{2 * count}I", *starts, *(len(segment) for segment in segments))
    return b"".join((head, lists, *segments))


def _from_webp(segments: list[bytes], layout: TiffLayout, size: tuple[int, int]) -> Image.Image:
    """Decode segments that are each a WebP. Raises ValueError for one of another size."""
    mode = "RGBA" if layout.packed_channels == 4 else "RGB"  # noqa: PLR2004
    decoded, left = [], size[1]
    for segment in segments:
        expected, file = (layout.segment[0], min(left, layout.segment[1])), io.BytesIO(segment)
        if webp_canvas(file) not in (expected, (0, 0)):
            raise ValueError("a strip or tile is of another size than the TIFF says")
        with Image.open(file, formats=("WEBP",)) as image:
            if image.size != expected:
                raise ValueError("a strip or tile is of another size than the TIFF says")
            decoded.append(image.convert(mode).tobytes())
            left -= image.height
    return Image.frombuffer("L", size, b"".join(decoded), "raw", "L", 0, 1)


def _rows(plane: Image.Image, layout: TiffLayout, begin: int, end: int) -> Any:
    """Return rows of a group as bytes: rows × segments × bytes of a segment's row."""
    if layout.across == 1:
        return np.asarray(plane.crop((0, begin, plane.width, end)))[:, None, :]
    height = layout.segment[1]
    tiles = [plane.crop((0, at + begin, plane.width, at + end)) for at in range(0, height * layout.across, height)]
    return np.stack([np.asarray(tile) for tile in tiles], axis=1)


def _samples(rows: Any, layout: TiffLayout) -> Samples:
    """Turn bytes into samples: rows × columns × channels."""
    shape = (*rows.shape[:2], layout.segment[0], layout.packed_channels)
    if layout.predictor == FLOAT_DIFFERENCES:
        found = _undone_floats(rows, layout)
    elif layout.bits % 8 == 0 and layout.bits != 24:  # noqa: PLR2004  for which NumPy has no type
        found = np.ascontiguousarray(rows).view(f"{layout.order}{_LETTERS[layout.kind]}{layout.bits // 8}")
        if layout.predictor == DIFFERENCES:
            unsigned = f"u{layout.bits // 8}"
            native = found.astype(found.dtype.newbyteorder("=")).view(unsigned).reshape(shape)
            found = np.cumsum(native, axis=2, dtype=unsigned).view(f"{_LETTERS[layout.kind]}{layout.bits // 8}")
    else:
        found = _from_bits(rows, layout.bits, shape[2] * shape[3])
    whole = found.reshape(shape[0], shape[1] * shape[2], shape[3])
    return whole[:, : layout.size[0]]


def _from_bits(rows: Any, bits: int, count: int) -> Any:
    """Take numbers of so many bits apart, eight at a time: those take whole bytes."""
    eights = -(-count // 8)
    padded = np.zeros((*rows.shape[:2], eights * bits), np.uint8)
    padded[..., : rows.shape[2]] = rows
    groups = padded.reshape(*rows.shape[:2], eights, bits)
    found = np.empty((*groups.shape[:3], 8), np.uint32)
    for number in range(8):
        begin, end = number * bits, (number + 1) * bits
        value = np.zeros(groups.shape[:3], np.uint64)
        for byte in range(begin // 8, -(-end // 8)):
            value = value << np.uint64(8) | groups[..., byte]
        found[..., number] = value >> np.uint64(-end % 8) & np.uint64((1 << bits) - 1)
    return found.reshape(*rows.shape[:2], eights * 8)[..., :count]


def _undone_floats(rows: Any, layout: TiffLayout) -> Any:
    """Undo predictor 3: differences of bytes, the highest byte of all samples first (Adobe, TIFF Technical Note 3)."""
    size, channels = layout.bits // 8, layout.packed_channels
    steps = rows.reshape(*rows.shape[:2], -1, channels)
    added = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(*rows.shape[:2], size, -1)
    return np.ascontiguousarray(np.moveaxis(added, 2, 3)).view(f">f{size}")
