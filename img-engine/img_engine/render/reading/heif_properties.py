"""What an AVIF or a HEIC says of its primary picture beside the pixels: visible part, colours, shape of pixels.

ISO/IEC 14496-12 (8.11 meta, 12.1.4 pasp and clap, 12.1.5 colr), ISO/IEC 23008-12 (6.5.6 pixi, 9.3 iprp),
ISO/IEC 23091-2 (CICP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO, Final

from img_contract.job.outcome import FailureCode

from img_engine.render.cicp import Cicp
from img_engine.render.orientation import Box
from img_engine.render.picture_faults import PictureRefused

_MOST_META: Final = 4 * 1024 * 1024
"""Bytes of the box that has all properties; it has a few hundred, or kilobytes with a grid of tiles."""

_MOST_BOXES: Final = 10_000
_UNREADABLE: Final = {10: "BT.2020, constant luminance", 11: "SMPTE 2085", 13: "constant luminance", 14: "ICtCp"}
"""Matrices from which libavif makes no RGB."""

_APPLES_GAIN_MAP: Final = b"urn:com:apple:photo:2020:aux:hdrgainmap"

Content = memoryview


@dataclass(frozen=True)
class Properties:
    """Of the primary picture."""

    clap: tuple[Fraction, ...] = ()
    """The visible part: width, height, and where its middle lies from that of the picture, across and down."""
    pixel_shape: tuple[int, int] = (1, 1)
    """Width and height of a pixel, of any unit."""
    cicp: Cicp | None = None
    depth: int = 8
    """Bits of a value."""
    gain_map: bool = False
    """Whether the file has one, of the primary picture or of another."""

    @property
    def cicp_of_8_bits(self) -> Cicp | None:
        """The numbers for what libavif makes of a deeper picture, 8 bits."""
        return replace(self.cicp, cut_bits=max(0, self.depth - 8)) if self.cicp else None

    def check_matrix(self) -> None:
        """Raise PictureRefused for an AVIF whose colours libavif cannot convert to RGB."""
        if self.cicp and self.cicp.matrix in _UNREADABLE:
            raise PictureRefused(
                FailureCode.PICTURE_UNSUPPORTED,
                f"an AVIF with colours by matrix {self.cicp.matrix} ({_UNREADABLE[self.cicp.matrix]}) cannot be read",
            )

    def visible_part(self, size: tuple[int, int]) -> Box | None:
        """Return the part of a picture of that size that is to be shown; None for all of it, or if it lies beyond."""
        if not self.clap:
            return None
        width, height, across, down = self.clap
        left, top = (size[0] - width) / 2 + across, (size[1] - height) / 2 + down
        box = round(left), round(top), round(left) + round(width), round(top) + round(height)
        sound = 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
        return box if sound and box != (0, 0, *size) else None


def read_properties(file: BinaryIO) -> Properties:
    """Read them; those that are damaged are left out. Rewinds the file."""
    found = _Found()
    try:
        meta = _meta(file)
        for kind, content in _boxes(meta[4:]):
            found.take(kind, content)
    except (struct.error, IndexError, ValueError):
        pass
    file.seek(0)
    return found.properties()


def _meta(file: BinaryIO) -> Content:
    """Return the content of the box `meta` of the whole file. Raises struct.error, ValueError."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        begin = 8
        if length == 1:
            (length,), begin = struct.unpack_from(">Q", head, 8), 16
        if kind == b"meta":
            file.seek(at + begin)
            return memoryview(file.read(min(length - begin if length else _MOST_META, _MOST_META)))
        if length < begin or at + length >= 1 << 63:
            break
        at += length
    raise ValueError("no box with properties")


def _boxes(content: Content) -> Iterator[tuple[bytes, Content]]:
    """Yield kind and content of the boxes in a row, as far as they lie within."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, at)
        if length < 8 or at + length > len(content):  # noqa: PLR2004  length and kind
            return
        yield kind, content[at + 8 : at + length]
        at += length


@dataclass
class _Found:
    primary: int = 0
    boxes: list[tuple[bytes, Content]] = field(default_factory=list)
    """All properties of the file, in their order."""
    of_items: dict[int, list[int]] = field(default_factory=dict)
    """The numbers of an item's properties, from 1."""
    gain_map: bool = False

    def take(self, kind: bytes, content: Content) -> None:
        """Add a box of `meta`. Raises struct.error."""
        match kind:
            case b"pitm":
                (self.primary,) = struct.unpack_from(">I" if content[0] else ">H", content, 4)
            case b"iprp":
                for inner, what in _boxes(content):
                    if inner == b"ipco":
                        self.boxes = list(_boxes(what))
                    elif inner == b"ipma":
                        self._associate(what)
            case b"iinf":
                skipped = 8 if content[0] else 6
                self.gain_map = self.gain_map or any(
                    bytes(what[8:12]) == b"tmap" for _, what in _boxes(content[skipped:])
                )

    def _associate(self, content: Content) -> None:
        version, wide = content[0], content[3] & 1
        (count,) = struct.unpack_from(">I", content, 4)
        at = 8
        for _ in range(min(count, _MOST_BOXES)):
            item, number = struct.unpack_from(">IB" if version else ">HB", content, at)
            at += 5 if version else 3
            indices = struct.unpack_from(f">{number}{'H' if wide else 'B'}", content, at)
            self.of_items[item] = [index & (0x7FFF if wide else 0x7F) for index in indices]
            at += number * (2 if wide else 1)

    def properties(self) -> Properties:
        """Return what applies to the primary picture."""
        indices = self.of_items.get(self.primary, [])
        own = [self.boxes[index - 1] for index in indices if 0 < index <= len(self.boxes)]
        apples = any(kind == b"auxC" and bytes(what[4:]).startswith(_APPLES_GAIN_MAP) for kind, what in self.boxes)
        found = Properties(gain_map=self.gain_map or apples)
        for kind, content in own:
            try:
                found = _with(found, kind, content)
            except (struct.error, IndexError, ZeroDivisionError):
                continue
        return found


def _with(found: Properties, kind: bytes, content: Content) -> Properties:
    """Add a property. Raises struct.error, IndexError, ZeroDivisionError."""
    if kind == b"clap":
        n = struct.unpack_from(">IIIIiIiI", content)
        clap = tuple(Fraction(above, below) for above, below in zip(n[::2], n[1::2], strict=True))
        return replace(found, clap=clap)
    if kind == b"pasp":
        across, down = struct.unpack_from(">II", content)
        return replace(found, pixel_shape=(across, down)) if across and down else found
    if kind == b"pixi":
        return replace(found, depth=content[5] if content[4] else 8)
    if kind == b"colr" and bytes(content[:4]) == b"nclx":
        primaries, transfer, matrix, flags = struct.unpack_from(">HHHB", content, 4)
        return replace(found, cicp=Cicp(primaries, transfer, matrix, bool(flags & 0x80)))
    return found
