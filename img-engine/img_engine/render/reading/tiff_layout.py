"""What the tags of a TIFF say of its samples: how many bits, of what kind, stored where and how.

TIFF 6.0; BigTIFF and the compressions that came later: https://www.awaresystems.be/imaging/tiff/tifftags.html.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO, Final

from img_contract.job.outcome import FailureCode

from img_engine.render.picture_faults import PictureRefused
from img_engine.render.reading.bounds import at_most
from img_engine.render.reading.tiff_directories import Tags, byte_order, read_tags

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 8, 9
"""PhotometricInterpretation."""

COLOURS: Final = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, CIELAB: 3, ICCLAB: 3}
"""Samples that make a colour; what follows them are extra samples."""

ASSOCIATED, UNASSOCIATED = 1, 2
"""ExtraSamples: alpha that the colours are multiplied with, or not."""

UNSIGNED, SIGNED, FLOAT, VOID = 1, 2, 3, 4
"""SampleFormat. What is void is read as unsigned."""

RAW, WEBP = 1, 50_001
BYTE_CODECS: Final = frozenset({RAW, 5, 8, 32_946, 32_773, 34_925, 50_000})
"""Compressions of bytes, whatever they mean: none, LZW, Deflate by both of its numbers, PackBits, LZMA, Zstandard."""

_PICTURE_CODECS: Final = frozenset({2, 3, 4, 6, 7, 32_771})
"""Compressions that know what they pack, which Pillow leaves to libtiff: CCITT's and JPEG's."""

_NAMES: Final = {
    33_003: "JPEG 2000",
    33_005: "JPEG 2000",
    34_661: "JBIG",
    34_712: "JPEG 2000",
    34_887: "LERC",
    34_892: "lossy JPEG of DNG",
    50_002: "JPEG XL",
    52_546: "JPEG XL",
}

MOST_SAMPLE_BYTES: Final = 1024 * 1024 * 1024
"""64 megapixels of four numbers of 32 bits: a few seconds."""

_TAGS: Final = frozenset(
    {*range(256, 260), 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, *range(322, 326), *range(338, 342)}
)
_TILE_OFFSETS: Final = 324
_ALL: Final = 1 << 40
_MOST_CHANNELS: Final = 16
_MOST_PACKED: Final = 32
_WHOLE_WORDS: Final = {UNSIGNED: (8, 16, 32, 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3
"""Predictor."""


@dataclass(frozen=True)
class TiffLayout:
    """The samples of a TIFF's first page."""

    size: tuple[int, int]
    """Pixels, as stored."""
    bits: int
    kind: int
    """UNSIGNED, SIGNED or FLOAT."""
    channels: int
    extra: tuple[int, ...]
    """What the samples after the colours are; more may be there."""
    photometric: int
    planar: bool
    compression: int
    predictor: int
    bits_reversed: bool
    order: str
    """Of bytes: "<" or ">"."""
    segment: tuple[int, int]
    """Width and height of a tile or a strip."""
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    """Bytes of each segment."""
    orientation: int
    colours: tuple[int, ...] = ()
    """The palette: all reds, greens and blues, of 16 bits."""
    span: tuple[float, float] | None = None
    """The values of black and white, where the file says them."""

    @property
    def across(self) -> int:
        """Return how many segments lie side by side."""
        return -(-self.size[0] // self.segment[0])

    @property
    def down(self) -> int:
        """Return how many rows of segments there are."""
        return -(-self.size[1] // self.segment[1])

    @property
    def packed_channels(self) -> int:
        """Return how many samples of a pixel lie side by side."""
        return 1 if self.planar else self.channels

    @property
    def planes(self) -> int:
        """Return how many times the picture's segments are there, each time with other samples."""
        return self.channels if self.planar else 1

    @property
    def row_bytes(self) -> int:
        """Return the length of a segment's row."""
        return -(-self.segment[0] * self.packed_channels * self.bits // 8)

    @property
    def alpha(self) -> int | None:
        """Return the number of the sample that is alpha; None if there is none."""
        first = COLOURS[self.photometric]
        found = (first + number for number, what in enumerate(self.extra) if what in (ASSOCIATED, UNASSOCIATED))
        return next(found, None)

    @property
    def associated(self) -> bool:
        """Return whether the colours are multiplied with alpha."""
        return self.alpha is not None and self.extra[self.alpha - COLOURS[self.photometric]] == ASSOCIATED


def layout_to_read(file: BinaryIO) -> TiffLayout | None:
    """Return the layout of samples that Pillow does not read, or reads wrongly; None for all others. Rewinds the file.

    Raises PictureRefused for those that nothing here reads, and for contradictory tags; ValueError, struct.error if the
    tags cannot be read.
    """
    order, big = byte_order(file.read(4))
    file.seek(0)
    tags = read_tags(file, _TAGS)
    compression = _number(tags, 259, RAW)
    if compression in _PICTURE_CODECS:
        return None
    if compression not in BYTE_CODECS | {WEBP}:
        raise _unsupported(f"compression {compression}{_named(compression)}")
    bits, kinds = _numbers(tags, 258, (1,)), _numbers(tags, 339, (UNSIGNED,))
    photometric, channels = _number(tags, 262, WHITE_IS_ZERO), _number(tags, 277, len(bits))
    if photometric not in COLOURS or (
        not (big and order == ">")  # which Pillow does not know at all
        and _pillow_reads(tags, photometric, bits, kinds, channels)
    ):
        return None
    if channels > _MOST_CHANNELS or channels < COLOURS[photometric]:
        raise _unsupported(f"{channels} samples a pixel")
    if len(set(bits)) > 1 or len(set(kinds)) > 1:
        raise _unsupported("samples of different kinds in one pixel")
    try:
        layout = _layout(tags, order, bits[0], UNSIGNED if kinds[0] == VOID else kinds[0], photometric, channels)
        _check(layout)
    except ValueError as error:  # Pillow would take the samples for others
        raise PictureRefused(FailureCode.PICTURE_CORRUPT, f"the TIFF's tags are wrong: {error}") from error
    return layout


def _pillow_reads(tags: Tags, photometric: int, bits: tuple[int, ...], kinds: tuple[int, ...], channels: int) -> bool:
    """Return whether the samples are of the kinds that Pillow reads right: an allow-list."""
    if set(kinds) - {UNSIGNED, VOID} or ASSOCIATED in _numbers(tags, 338, ()) or _number(tags, 259, RAW) == WEBP:
        return False
    if (_number(tags, 284, 1) != 1 and channels > 1) or channels > COLOURS[photometric] + (photometric != CMYK):
        return False
    if channels == 1 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE):
        return bits[0] in (1, 2, 4, 8)
    if photometric == BLACK_IS_ZERO:
        return set(bits) == {8} and UNASSOCIATED in _numbers(tags, 338, ())
    deep = set(bits) == {16} and channels == COLOURS[photometric]
    return photometric in (RGB, CMYK) and (set(bits) == {8} or deep) and _number(tags, 266, 1) == 1


def _layout(tags: Tags, order: str, bits: int, kind: int, photometric: int, channels: int) -> TiffLayout:
    size = _number(tags, 256, 0), _number(tags, 257, 0)
    tiled = _TILE_OFFSETS in tags
    segment = (
        (_number(tags, 322, 0), _number(tags, 323, 0))
        if tiled
        else (size[0], min(size[1], _number(tags, 278, size[1])))
    )
    if min(*size, *segment, bits) < 1:
        raise ValueError("a side is 0")
    unsaid = () if channels == COLOURS[photometric] else (UNASSOCIATED,)  # as Pillow and libvips take it
    lowest, highest = _floats(tags, 340), _floats(tags, 341)
    span = (min(lowest), max(highest)) if lowest and highest and min(lowest) < max(highest) else None
    offsets = _numbers(tags, _TILE_OFFSETS if tiled else 273, ())
    # Where the counts are missing, all that follows is read; of what is not compressed, only as much as is needed.
    guessed = (_ALL,) * len(offsets) if len(offsets) == 1 or _number(tags, 259, RAW) == RAW else ()
    return TiffLayout(
        size=size,
        bits=bits,
        kind=kind,
        channels=channels,
        extra=_numbers(tags, 338, unsaid),
        photometric=photometric,
        planar=_number(tags, 284, 1) == 2 and channels > 1,  # noqa: PLR2004  PlanarConfiguration
        compression=_number(tags, 259, RAW),
        predictor=_number(tags, 317, 1),
        bits_reversed=_number(tags, 266, 1) == 2,  # noqa: PLR2004  FillOrder
        order=order,
        segment=segment,
        offsets=offsets,
        counts=_numbers(tags, 325 if tiled else 279, guessed),
        orientation=turn if (turn := _number(tags, 274, 1)) in range(1, 9) else 1,
        colours=_numbers(tags, 320, ()) if photometric == PALETTE else (),
        span=span,
    )


def _check(layout: TiffLayout) -> None:
    """Raise PictureRefused for what is not read here, ValueError for what is contradictory."""
    packed = layout.kind == UNSIGNED and layout.bits <= _MOST_PACKED
    if not packed and layout.bits not in _WHOLE_WORDS.get(layout.kind, ()):
        raise _unsupported(f"samples of {layout.bits} bits in format {layout.kind}")
    if (
        layout.predictor not in (1, DIFFERENCES, FLOAT_DIFFERENCES)
        or (layout.predictor == FLOAT_DIFFERENCES and layout.kind != FLOAT)
        or (layout.predictor == DIFFERENCES and layout.bits not in (8, 16, 32, 64))
    ):
        raise _unsupported(f"predictor {layout.predictor} for samples of {layout.bits} bits")
    if layout.compression == WEBP and (layout.bits != 8 or layout.packed_channels not in (3, 4)):  # noqa: PLR2004
        raise _unsupported("WebP of other pixels than RGB and RGBA")
    if layout.photometric == PALETTE and len(layout.colours) != 3 << layout.bits:
        raise ValueError("the palette is incomplete")
    segments = layout.across * layout.down * layout.planes
    if min(len(layout.offsets), len(layout.counts)) < segments:
        raise ValueError("strips or tiles are missing")
    stored = segments * layout.row_bytes * layout.segment[1]
    at_most(MOST_SAMPLE_BYTES, stored, "bytes of samples", FailureCode.TOO_MUCH_MEMORY)


def _numbers(tags: Tags, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(one) for one in tags.get(tag, default))


def _number(tags: Tags, tag: int, default: int) -> int:
    return next(iter(_numbers(tags, tag, ())), default)


def _floats(tags: Tags, tag: int) -> list[float]:
    return [number for number in tags.get(tag, ()) if math.isfinite(number)]


def _named(compression: int) -> str:
    return f" ({_NAMES[compression]})" if compression in _NAMES else ""


def _unsupported(what: str) -> PictureRefused:
    return PictureRefused(FailureCode.PICTURE_UNSUPPORTED, f"a TIFF with {what} cannot be read")
