"""The frames of an animated PNG, each cut out as a PNG of its own.

PNG, third edition, https://www.w3.org/TR/png-3/#apng-frame-based-animation. Pillow's own composition blends alpha as if
it were a colour.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from PIL import Image

from img_engine.render.animation import Disposal, FramePatch
from img_engine.render.reading.png import read_png
from img_engine.render.reading.png_chunks import SIGNATURE, chunks, complete, look_through

_CONTROL: Final = struct.Struct(">IIIIIHHBB")
_DISPOSALS: Final = {1: Disposal.BACKGROUND, 2: Disposal.PREVIOUS}
_SOURCE: Final = 0


def read_apng(data: bytes, most: int) -> tuple[FramePatch, ...]:
    """Return its frames, `most` + 1 at most, up to the first damaged one; none if it is not animated.

    A picture in front of the animation, without a frame control, is no frame.
    """
    reader = _Reader()
    with suppress(ValueError, struct.error):  # the rest is damaged
        for kind, content in chunks(data):
            reader.take(kind, content)
            if len(reader.patches) > most:
                break
    if len(reader.patches) < min(reader.announced, most):
        reader.patches += [_MISSING, _MISSING] if not reader.patches else [_MISSING]
    return tuple(reader.patches[: reader.announced])


def _missing() -> Image.Image:
    raise ValueError("a frame is missing")


_MISSING: Final = FramePatch((0, 0), (1, 1), 0, Disposal.NONE, blend=True, decode=_missing)
"""In place of a frame that the file announces and does not have."""


class _Reader:
    """Collects frames from chunks."""

    def __init__(self) -> None:
        self.patches: list[FramePatch] = []
        self.announced = 0
        """Frames that the file says it has."""
        self._header = b""
        self._shared: list[tuple[bytes, memoryview]] = []
        self._control: memoryview | None = None
        self._pixels: list[memoryview] = []
        self._expected = 0

    def take(self, kind: bytes, content: memoryview) -> None:
        """Add a chunk. Raises ValueError, struct.error if it is damaged."""
        if kind in (b"fcTL", b"IEND") and self._control is not None:
            self.patches.append(self._patch(self._control))
            self._control, self._pixels = None, []
        if kind in (b"fcTL", b"fdAT"):
            self._check_order(content)
        match kind:
            case b"IHDR":
                self._header = bytes(content)
            case b"acTL":
                self.announced = struct.unpack_from(">I", content)[0]
            case b"PLTE" | b"tRNS":
                self._shared.append((bytes(kind), content))
            case b"fcTL":
                self._control = content
            case b"fdAT":
                self._pixels.append(content[4:])
            case b"IDAT" if self._control is not None:
                self._pixels.append(content)

    def _check_order(self, content: memoryview) -> None:
        if struct.unpack_from(">I", content)[0] != self._expected:
            raise ValueError("a frame is missing, or not in its place")
        self._expected += 1

    def _patch(self, control: memoryview) -> FramePatch:
        _, width, height, left, top, part, of, dispose, blend = _CONTROL.unpack_from(control)
        canvas = struct.unpack_from(">II", self._header)
        if not (width and height and self._pixels) or left + width > canvas[0] or top + height > canvas[1]:
            raise ValueError("a frame does not lie on the canvas, or has no pixels")
        header = struct.pack(">II", width, height) + self._header[8:]
        picture = _Picture(header, tuple(self._shared), tuple(self._pixels))
        disposal = _DISPOSALS.get(dispose, Disposal.NONE)
        shown = 1000 * part / (of or 100)
        return FramePatch((left, top), (width, height), shown, disposal, blend != _SOURCE, picture.decode)


@dataclass(frozen=True)
class _Picture:
    """One frame's header, the palette and transparency that all share, and its compressed pixels."""

    header: bytes
    shared: tuple[tuple[bytes, memoryview], ...]
    pixels: tuple[memoryview, ...]

    def decode(self) -> Image.Image:
        """Decode the picture. Raises what Pillow raises."""
        file = b"".join(
            (
                SIGNATURE,
                _chunk(b"IHDR", self.header),
                *(_chunk(*one) for one in self.shared),
                _chunk(b"IDAT", b"".join(self.pixels)),
                _chunk(b"IEND", b""),
            )
        )
        quick = read_png(file)
        if quick is not None:
            return quick
        opened = io.BytesIO(file)
        notes = look_through(opened)
        with Image.open(opened, formats=("PNG",)) as image:
            complete(image, notes)
            image.load()
            return image.copy()


def _chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I4s", len(content), kind) + bytes(content) + struct.pack(">I", checksum)
