"""The chunks of a PNG, and the information in them that Pillow misses.

PNG, third edition, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from PIL import Image

from img_engine.render.cicp import Cicp
from img_engine.render.reading.bounds import at_most
from img_engine.render.reading.png_raw_profiles import raw_profile

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MOST_CHUNKS: Final = 100_000
"""A file with more of them is refused."""

_MOST_PACKED: Final = 200
"""Chunks of text or of a profile that Pillow inflates, up to 1 MiB each, in one or two milliseconds."""

_PACKED: Final = frozenset({b"iCCP", b"zTXt", b"iTXt"})

_XMP: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Keyword, not compressed, no language, no translation."""

_ANIMATION: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
_NOTED: Final = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
_OF_COLOURS: Final = frozenset({b"cICP", b"sRGB", b"gAMA", b"cHRM"})
_SIZES: Final = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"pHYs": 9}
"""Bytes of chunks that Pillow and others refuse if they have another size."""

_MOST_NOTED: Final = 2 * 1024 * 1024
"""Bytes of a chunk that is looked into. More than 1 MiB of EXIF or XMP is not kept anyway."""

_ANCILLARY: Final = 0x20
"""Set in the first letter of a kind that is not necessary (5.4)."""

_PORTION: Final = 1024 * 1024

_DEPTH_AT: Final = len(SIGNATURE) + 16
"""The position of the bits per sample, in IHDR, the first chunk."""

_WIDENED: Final = {2: 85, 4: 17}
"""The factor by which Pillow widens grey samples of so many bits to eight."""


@dataclass(frozen=True)
class Header:
    """IHDR."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @classmethod
    def parse(cls, content: bytes | memoryview) -> Header:
        """Parse the chunk's content. Raises struct.error unless it has 13 bytes."""
        return cls(*struct.unpack(">IIBB2x?", content))


class Place(NamedTuple):
    """A chunk's kind, and where it lies in the file, from its length to its checksum."""

    kind: bytes
    begin: int
    end: int


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and content of each chunk up to IEND. Raises ValueError, struct.error if one is cut off."""
    view = memoryview(data)
    at, kind, seen = len(SIGNATURE), b"", 0
    while kind != b"IEND":
        seen += 1
        if seen > MOST_CHUNKS:
            raise ValueError("more chunks than are usual")
        length, kind = struct.unpack_from(">I4s", view, at)
        content = view[at + 8 : at + 8 + length]
        if len(content) != length:
            raise ValueError("a chunk breaks off")
        yield kind, content
        at += 12 + length


@dataclass(frozen=True)
class Notes:
    """What Pillow does not report of a PNG, or only after decoding it."""

    depth: int
    """Bits of a sample."""
    exif: bytes = b""
    """EXIF that comes after the pixels, or in a text."""
    xmp: bytes = b""
    """XMP that comes after the pixels, or in hexadecimal digits."""
    iptc: bytes = b""
    cicp: Cicp | None = None
    srgb: bool = False
    gamma: int = 0
    """gAMA, times 100,000."""
    chromaticities: tuple[int, ...] = ()
    """cHRM: x and y of white, red, green and blue, times 100,000."""
    damaged: tuple[Place, ...] = ()
    """Chunks whose checksum is wrong, and which are not necessary."""
    animation: tuple[Place, ...] = ()
    """The chunks that make it an animation."""
    animation_damaged: bool = False
    """Whether the checksum of one of those is wrong."""


def look_through(file: BinaryIO, begin: int = 0) -> Notes:
    """Walk from chunk to chunk by their lengths, up to the first that leads nowhere. Rewinds the file.

    `begin`: where the PNG begins in the file. Raises PictureRefused for very many chunks, which Pillow would collect in
    memory, and for many that it would inflate.
    """
    file.seek(begin + _DEPTH_AT)
    depth = int.from_bytes(file.read(1), "big")
    exif = xmp = b""
    raw: dict[str, bytes] = {}
    damaged: list[Place] = []
    animation: list[Place] = []
    told: dict[bytes, bytes] = {}
    at, behind, packed, broken = begin + len(SIGNATURE), False, 0, False
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":  # noqa: PLR2004  length and kind
            file.seek(0)
            exif, xmp = exif or raw.get("exif", b""), xmp or raw.get("xmp", b"")
            return Notes(
                depth, exif, xmp, raw.get("iptc", b""), *_colours(told), tuple(damaged), tuple(animation), broken
            )
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        place = Place(bytes(kind), at, at + 12 + length)
        packed += kind in _PACKED
        at_most(_MOST_PACKED, packed, "chunks of iCCP, zTXt and iTXt")
        behind = behind or kind == b"IDAT"
        right_size = _SIZES.get(kind, length) == length
        sound = not _can_be_left_out(kind) or (right_size and _sound(file, kind, length))
        if kind in _ANIMATION:
            animation.append(place)
            broken = broken or not sound
        elif not sound:
            damaged.append(place)
        elif kind in _OF_COLOURS:
            file.seek(at + 8)
            told.setdefault(kind, b"" if behind else file.read(length))
        elif kind in _NOTED and length <= _MOST_NOTED:
            file.seek(at + 8)
            content = file.read(length)
            if kind == b"eXIf":
                exif = exif or (content if behind else b"")
            elif content.startswith(_XMP):
                xmp = xmp or (content.removeprefix(_XMP) if behind else b"")
            else:
                raw.setdefault(*raw_profile(kind, content))
        at += 12 + length
    at_most(MOST_CHUNKS, MOST_CHUNKS + 1, "chunks")
    raise AssertionError  # it has raised


def _colours(told: dict[bytes, bytes]) -> tuple[Cicp | None, bool, int, tuple[int, ...]]:
    """Parse what chunks say of colours."""
    numbers, gamma, points = told.get(b"cICP", b""), told.get(b"gAMA", b""), told.get(b"cHRM", b"")
    return (
        Cicp(numbers[0], numbers[1], numbers[2], bool(numbers[3])) if numbers else None,
        bool(told.get(b"sRGB")),
        int.from_bytes(gamma, "big"),
        struct.unpack(">8I", points) if points else (),
    )


def _can_be_left_out(kind: bytes) -> bool:
    """Return whether a picture can be shown without the chunk. The pixels of frames have a checksum of their own."""
    return bool(kind[0] & _ANCILLARY) and kind not in (b"tRNS", b"fdAT")


def _sound(file: BinaryIO, kind: bytes, length: int) -> bool:
    """Return whether the checksum of the chunk is right whose content begins here; True if it is cut off."""
    checksum = zlib.crc32(kind)
    while length:
        portion = file.read(min(length, _PORTION))
        if not portion:
            return True
        checksum = zlib.crc32(portion, checksum)
        length -= len(portion)
    stored = file.read(4)
    return len(stored) < 4 or int.from_bytes(stored, "big") == checksum  # noqa: PLR2004  bytes of a checksum


def complete(image: Image.Image, notes: Notes) -> None:
    """Add to an opened PNG the metadata that Pillow has not found, and its transparent grey as Pillow widens samples.

    If `info` had no EXIF, Pillow would decode the whole picture to look for it, and hide errors while it does.
    """
    image.info.setdefault("exif", notes.exif)
    if notes.xmp:
        image.info.setdefault("xmp", notes.xmp)
    if notes.iptc:
        image.info["iptc"] = notes.iptc
    clear = image.info.get("transparency")
    if isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * _WIDENED.get(notes.depth, 1)
