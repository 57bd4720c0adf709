"""Files made to crash, hang or fill the engine: each is refused by its header, or rendered, and soon."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from img_contract.job.formats import SIGNATURE_BYTES, sniff
from img_contract.job.outcome import FailureCode, WarningCode
from img_contract.job.resize import Resize
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from img_testing import trial
from img_testing.bombs import (
    LARGE,
    LONG,
    SHORT,
    Maker,
    bmp_of_runs,
    box_sizes_changed,
    chunk,
    directory,
    exif,
    exif_of_fractions,
    gif,
    grey_tags,
    heif,
    icon,
    in_a_jpeg,
    inflating,
    ispe_changed,
    jpeg,
    jpeg_that_lies,
    masked_bmp,
    moving,
    png,
    scans,
    segment,
    tiff,
    tiff_of_pages,
    webp,
    webp_with,
    with_tags,
)
from img_testing.heif_boxes import box, with_property
from img_testing.samples import codes, encoded, four_corners

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

LIMITS = PictureLimits(pixels=64_000_000, frames=1000, memory=trial.CHILD_BYTES, animation_pixels=500_000_000)

MOST_COST = 250
"""More than twice that of the slowest, the BMP of 2 million runs."""

CORRUPT = FailureCode.PICTURE_CORRUPT
PIXELS = FailureCode.TOO_MANY_PIXELS
FRAMES = FailureCode.TOO_MANY_FRAMES
MEMORY = FailureCode.TOO_MUCH_MEMORY
UNSUPPORTED = FailureCode.PICTURE_UNSUPPORTED

ZEROS, FILL = bytes(LARGE), b"\xff" * LARGE
JUNK = random.Random(1).randbytes(LARGE)

MIB = 1024 * 1024
STORED_TEXT = zlib.compress(bytes(80 * MIB), 0)
ENORMOUS = inflating(4_000_000_000)
MANY = (20_000_000, 200)
"""Count and offset of numbers in a TIFF of 84 MB."""


def tiff_with(*changed: tuple[int, int, int, int]) -> bytes:
    return tiff(with_tags(grey_tags(64, 64), *changed), behind=bytes(84_000_000))


def tiff_in_tiles(size: tuple[int, int], *changed: tuple[int, int, int, int]) -> bytes:
    tags = [tag for tag in with_tags(grey_tags(*size), *changed) if tag[0] not in (273, 278, 279)]
    return tiff(tags, behind=bytes(84_000_000))


def deep_tiff(size: tuple[int, int], bits: int, *changed: tuple[int, int, int, int], rows: int | None = None) -> bytes:
    """Zeros in Deflate, in one strip or in strips of so many rows, all of them the same bytes."""
    each = rows or size[1]
    packed = zlib.compress(bytes(-(-size[0] * bits // 8) * each), 1)
    count = -(-size[1] // each)
    at = 600
    lists = struct.pack(f"<{2 * count}I", *[at + 8 * count] * count, *[len(packed)] * count)
    places = ((at, at + 4 * count)) if count > 1 else (at + 8, len(packed))
    tags = with_tags(
        grey_tags(*size),
        (258, SHORT, 1, bits),
        (259, SHORT, 1, 8),
        (273, LONG, count, places[0]),
        (278, LONG, 1, each),
        (279, LONG, count, places[1]),
        *changed,
    )
    return tiff(tags).ljust(at, b"\0") + lists + packed


def tiff_of_small_tiles() -> bytes:
    """300 × 300 tiles of a pixel of 16 bits."""
    tags = [tag for tag in grey_tags(300, 300) if tag[0] not in (273, 278, 279)]
    places = ((322, LONG, 1, 1), (323, LONG, 1, 1), (324, LONG, 90_000, 600), (325, LONG, 90_000, 600 + 360_000))
    lists = struct.pack("<180000I", *[600] * 90_000, *[2] * 90_000)
    return tiff(with_tags(tags, (258, SHORT, 1, 16), *places)).ljust(600, b"\0") + lists


def bmp_of_masks(size: tuple[int, int]) -> bytes:
    whole = bytearray(masked_bmp(np.zeros((1, 1), np.uint64), 16, (0xF, 0xF0, 0xF00, 0xF000)))
    whole[18:26] = struct.pack("<ii", *size)
    return bytes(whole)


def two_directories_in_a_circle() -> bytes:
    first = directory(grey_tags(8, 8, offset=0))
    return tiff(grey_tags(8, 8, offset=0), following=8 + len(first)) + directory(grey_tags(8, 8, offset=0), 8)


def tiff_of_full_directories() -> bytes:
    tags = with_tags(grey_tags(8, 8), *((number, SHORT, 1, 0) for number in range(1000, 61_000)))
    return tiff(tags)


REFUSED: dict[str, tuple[Maker, FailureCode]] = {
    "png that claims 60,000 × 60,000": (lambda: png((60_000, 60_000), data=b""), PIXELS),
    "png whose pixels are missing": (lambda: png((8000, 8000), data=zlib.compress(b"\0" * 1000)), CORRUPT),
    "png with text that inflates to 4 GB": (lambda: png(before=chunk(b"zTXt", b"k\0\0" + ENORMOUS)), CORRUPT),
    "png with international text that inflates to 4 GB": (
        lambda: png(before=chunk(b"iTXt", b"k\0\1\0\0\0" + ENORMOUS)),
        CORRUPT,
    ),
    "png with a profile that inflates to 4 GB": (lambda: png(before=chunk(b"iCCP", b"k\0\0" + ENORMOUS)), CORRUPT),
    "png with 80 MiB of text, stored": (lambda: png(before=chunk(b"zTXt", b"k\0\0" + STORED_TEXT)), CORRUPT),
    "png with 80 MiB of profile, stored": (lambda: png(before=chunk(b"iCCP", b"k\0\0" + STORED_TEXT)), CORRUPT),
    "png with 90,000 profiles of 1 MB": (
        lambda: png(before=chunk(b"iCCP", b"k\0\0" + inflating(1_000_000)) * 90_000),
        CORRUPT,
    ),
    "png with 90,000 texts of 1 MB without a keyword": (
        lambda: png(before=chunk(b"zTXt", b"\0\0" + inflating(1_000_000)) * 90_000),
        CORRUPT,
    ),
    "png with 90,000 texts behind its pixels": (
        lambda: png(after=chunk(b"zTXt", b"k\0\0" + inflating(1_000_000)) * 90_000),
        CORRUPT,
    ),
    "png with two million chunks": (lambda: png(before=chunk(b"prVt", b"") * 2_000_000), CORRUPT),
    "png of a header and zeros": (lambda: png()[:33] + ZEROS, CORRUPT),
    "gif of 100,000 frames": (lambda: gif((8, 8), 100_000), FRAMES),
    "gif of 9000 × 9000 with frames of a dot": (lambda: gif((9000, 9000), 1000), PIXELS),
    "gif of 7900 × 7900 with frames of a dot": (lambda: gif((7900, 7900), 1000), MEMORY),
    "gif whose frame claims 65,535 × 65,535": (lambda: gif((8, 8), 1, frame=(65_535, 65_535)), PIXELS),
    "gif of 33 million empty comments": (lambda: gif((8, 8), 1, front=b"!\xfe\0" * (LARGE // 3)), CORRUPT),
    "gif of 20 million comments": (lambda: gif((8, 8), 1, front=b"!\xfe\1x\0" * (LARGE // 5)), CORRUPT),
    "gif with one comment in 50 million blocks": (
        lambda: gif((8, 8), 1, front=b"!\xfe" + b"\1x" * (LARGE // 2) + b"\0"),
        CORRUPT,
    ),
    "gif of a header and zeros": (lambda: gif((8, 8), 0)[:-1] + ZEROS, CORRUPT),
    "gif of a header and 0xFF": (lambda: gif((8, 8), 0)[:-1] + FILL, CORRUPT),
    "gif with zeros before its frame": (lambda: gif((8, 8), 1, front=ZEROS), CORRUPT),
    "jpeg that claims 60,000 × 60,000": (lambda: jpeg_that_lies((60_000, 60_000)), PIXELS),
    "jpeg of 5000 scans": (lambda: scans(5000), CORRUPT),
    "jpeg of fill between segments": (lambda: jpeg(front=segment(0xFE, b"x") + FILL), CORRUPT),
    "jpeg of zeros between segments": (lambda: jpeg(front=segment(0xFE, b"x") + ZEROS), CORRUPT),
    "jpeg of escaped bytes between segments": (lambda: jpeg(front=b"\xff\0" * (LARGE // 2)), CORRUPT),
    "jpeg of restarts between segments": (lambda: jpeg(front=b"\xff\xd0" * (LARGE // 2)), CORRUPT),
    "jpeg of fill in its pixels": (lambda: in_a_jpeg(b"\xff\xda", 20, FILL), CORRUPT),
    "jpeg of fill instead of an end": (lambda: jpeg()[:-2] + FILL, CORRUPT),
    "progressive jpeg of fill instead of an end": (lambda: jpeg(progressive=True)[:-2] + FILL, CORRUPT),
    "progressive jpeg of 25 million comments": (
        lambda: jpeg(progressive=True)[:-2] + segment(0xFE, b"") * (LARGE // 4),
        CORRUPT,
    ),
    "jpeg of 25 million comments": (lambda: jpeg(front=segment(0xFE, b"") * (LARGE // 4)), CORRUPT),
    "jpeg of 65,536 segments of an application": (lambda: jpeg(front=segment(0xE5, b"x") * 65_536), CORRUPT),
    "jpeg of 1500 segments of EXIF": (lambda: jpeg(front=exif(b"x" * 65_000) * 1500), CORRUPT),
    "jpeg of 1.5 million tables": (
        lambda: jpeg(front=segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 1500),
        CORRUPT,
    ),
    "jpeg of 8 million photoshop blocks": (
        lambda: jpeg(front=segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5400) * 1500),
        CORRUPT,
    ),
    "jpeg of zeros behind its first bytes": (lambda: b"\xff\xd8\xff" + ZEROS, CORRUPT),
    "webp on a canvas of 16,384 × 16,384": (lambda: webp((16_384, 16_384), 3), PIXELS),
    "webp of 1000 frames on 8000 × 8000": (lambda: webp((8000, 8000), 1000), MEMORY),
    "webp of 100,000 frames": (lambda: webp((8, 8), 100_000), FRAMES),
    "tiff of 60,000 × 60,000": (lambda: tiff(grey_tags(60_000, 60_000)), PIXELS),
    "tiff of 100,000 pages": (lambda: tiff_of_pages(100_000), FRAMES),
    "tiff whose strip lies behind its end": (lambda: tiff(grey_tags(64, 64, offset=2**32 - 10)), CORRUPT),
    "tiff whose strip has 4 GB": (lambda: tiff(grey_tags(64, 64, length=2**32 - 1)), CORRUPT),
    "tiff of 20 million strips": (lambda: tiff_with((273, LONG, *MANY), (279, LONG, *MANY)), CORRUPT),
    "tiff of 20 million tiles": (
        lambda: tiff_in_tiles(
            (7900, 7900), (322, LONG, 1, 1), (323, LONG, 1, 1), (324, LONG, *MANY), (325, LONG, *MANY)
        ),
        CORRUPT,
    ),
    "tiff of a tile of 4 gigapixels": (
        lambda: tiff_in_tiles(
            (64, 64), (259, SHORT, 1, 5), *((tag, LONG, 1, 2**16) for tag in (322, 323)), (324, LONG, 1, 200)
        ),
        CORRUPT,
    ),
    "tiff of 64 megapixels of 16 numbers of 64 bits": (
        lambda: deep_tiff((7900, 7900), 64, (277, SHORT, 1, 16), rows=1),
        MEMORY,
    ),
    "tiff of a tile of 4 gigapixels of 16 bits": (
        lambda: tiff_in_tiles(
            (64, 64),
            (258, SHORT, 1, 16),
            *((tag, LONG, 1, 2**16) for tag in (322, 323)),
            (324, LONG, 1, 200),
            (325, LONG, 1, 200),
        ),
        MEMORY,
    ),
    "tiff of one strip of 250 MB": (lambda: deep_tiff((7900, 7900), 32), MEMORY),
    "tiff of a webp of 16,384 × 16,384": (
        lambda: (
            tiff(
                with_tags(
                    grey_tags(64, 64, offset=300, length=1000),
                    (258, SHORT, 1, 8),
                    (259, SHORT, 1, 50_001),
                    (262, SHORT, 1, 2),
                    (277, SHORT, 1, 3),
                )
            ).ljust(300, b"\0")
            + webp((16_384, 16_384), 3)
        ),
        CORRUPT,
    ),
    "tiff of 12 bits whose strip is too short": (
        lambda: deep_tiff((64, 64), 12, (257, LONG, 1, 8000), (278, LONG, 1, 8000)),
        CORRUPT,
    ),
    "tiff of 20 million depths": (lambda: tiff_with((258, SHORT, *MANY)), CORRUPT),
    "tiff of 10 million widths, as fractions": (lambda: tiff_with((256, 5, 10_000_000, 200)), CORRUPT),
    "tiff of 2,147,483,648 channels": (lambda: tiff_with((277, LONG, 1, 2**31)), UNSUPPORTED),
    "tiff of 60,000 tags": (tiff_of_full_directories, CORRUPT),
    "bigtiff of 2⁶³ tags": (
        lambda: (
            b"II+\0\x08\0\0\0\x10"
            + bytes(7)
            + struct.pack("<Q", 2**63)
            + struct.pack("<HHQQ", 256, 4, 1, 8) * 4_000_000
        ),
        CORRUPT,
    ),
    "bigtiff of a header and junk": (lambda: b"II+\0\x08\0\0\0\x10" + bytes(7) + JUNK, CORRUPT),
    "bmp of 60,000 × 60,000": (lambda: bmp_of_runs(b"", (60_000, 60_000)), PIXELS),
    "bmp of 50 million runs": (lambda: bmp_of_runs(b"\1\1" * (LARGE // 2)), CORRUPT),
    "bmp of 2 million runs": (lambda: bmp_of_runs(b"\1\1" * 1_990_000), CORRUPT),
    "bmp of masks that claims 60,000 × 60,000": (lambda: bmp_of_masks((60_000, 60_000)), PIXELS),
    "bmp of masks whose pixels are missing": (lambda: bmp_of_masks((7900, 7900)), CORRUPT),
    "icon of a png that claims 60,000 × 60,000": (lambda: icon(png((60_000, 60_000), data=b"")), PIXELS),
    "icon of a bitmap that claims 60,000 × 60,000": (
        lambda: icon(struct.pack("<IiiHHIIiiII", 40, 60_000, 120_000, 1, 32, 0, 0, 0, 0, 0, 0)),
        PIXELS,
    ),
    "icon of a png of two million chunks": (lambda: icon(png(after=chunk(b"prVt", b"") * 2_000_000)), CORRUPT),
    "icon of a bitmap of 45 million runs": (
        lambda: icon(bmp_of_runs(b"\0\0" * 45_000_000, (256, 512))[14:], bits=8),
        CORRUPT,
    ),
    "avif that claims 60,000 × 60,000": (
        lambda: ispe_changed(encoded(four_corners(), "AVIF"), (60_000, 60_000)),
        UNSUPPORTED,
    ),
    "avif of 2000 frames": (lambda: moving("AVIF", (16, 16), 2000), FRAMES),
    "avif whose items lie": (
        lambda: box_sizes_changed(encoded(four_corners(), "AVIF"), b"iloc", 2**32 - 1),
        UNSUPPORTED,
    ),
    "avif of a header and zeros": (lambda: encoded(four_corners(), "AVIF")[:60] + ZEROS, UNSUPPORTED),
    "heic that claims 60,000 × 60,000": (lambda: ispe_changed(heif(), (60_000, 60_000)), CORRUPT),
    "heic whose items lie": (lambda: box_sizes_changed(heif(), b"iloc", 2**32 - 1), UNSUPPORTED),
    "heic of a header and zeros": (lambda: heif()[:60] + ZEROS, UNSUPPORTED),
}
"""Each with its maker, and the code that it is refused with."""

RENDERED: dict[str, Maker] = {
    "png of pixels that inflate to 4 GB": lambda: png(data=ENORMOUS),
    "png with 80 MiB of text behind its pixels": lambda: png(after=chunk(b"zTXt", b"k\0\0" + STORED_TEXT)),
    "png with text behind its pixels that inflates to 4 GB": lambda: png(after=chunk(b"zTXt", b"k\0\0" + ENORMOUS)),
    "png with EXIF in a text behind its pixels that inflates to 4 GB": lambda: png(
        after=chunk(b"zTXt", b"Raw profile type exif\0\0" + inflating(1_500_000_000))
    ),
    "png with 80 MB of a chunk whose checksum is wrong": lambda: png(
        before=chunk(b"prVt", bytes(80 * MIB))[:-4] + b"\1\2\3\4"
    ),
    "png of 99,990 chunks": lambda: png(before=chunk(b"prVt", b"") * 99_990),
    "png with an orientation of 10 million fractions": lambda: png(
        before=chunk(b"eXIf", exif_of_fractions(10_000_000))
    ),
    "jpeg of a few hundred bytes for 36 megapixels": lambda: jpeg_that_lies((6000, 6000)),
    "jpeg of 100 scans": lambda: scans(99),
    "jpeg of kilobytes of fill": lambda: jpeg(
        front=segment(0xFE, b"x") + b"\xff" * 100_000 + b"\xe5\0\2" + b"\0" * 100_000
    ),
    "jpeg with 0xFF behind its end": lambda: jpeg(progressive=True) + FILL,
    "jpeg with scans behind its end": lambda: jpeg(progressive=True) + segment(0xDA, b"xyz") * 1_000_000,
    "jpeg with 1500 profiles": lambda: jpeg(front=segment(0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 65_000) * 1500),
    "jpeg whose EXIF leads in a circle": lambda: jpeg(
        front=exif(b"II*\0\x08\0\0\0" + directory([(0x8769, LONG, 1, 8), (0x8825, LONG, 1, 8)], 8))
    ),
    "jpeg that claims 2³¹ pictures": lambda: jpeg(
        front=segment(
            0xE2,
            b"MPF\0II*\0\x08\0\0\0"
            + directory([(0xB000, 7, 4, 0x30303130), (0xB001, LONG, 1, 2**31), (0xB002, 7, 64_000, 50)])
            + bytes(64_800),
        )
    ),
    "png with junk behind its end": lambda: png() + JUNK,
    "gif with 0xFF behind its end": lambda: gif((64, 32), 1) + FILL,
    "gif with 0xFF instead of an end": lambda: gif((64, 32), 1)[:-1] + FILL,
    "bmp with zeros behind its end": lambda: encoded(four_corners(), "BMP") + ZEROS,
    "webp with junk behind its end": lambda: encoded(four_corners(), "WEBP") + JUNK,
    "webp with EXIF of 10 million fractions": lambda: webp_with(0x08, b"EXIF", exif_of_fractions(10_000_000)),
    "webp with 80 MiB of XMP": lambda: webp_with(0x04, b"XMP ", bytes(80 * MIB)),
    "tiff with junk behind its end": lambda: encoded(four_corners(), "TIFF") + JUNK,
    "tiff whose directories lead in a circle": two_directories_in_a_circle,
    "tiff of 65,000 strips of 12 bits": lambda: deep_tiff((900, 65_000), 12, rows=1),
    "tiff of 36 megapixels of floating point": lambda: deep_tiff((6000, 6000), 32, (339, SHORT, 1, 3), rows=16),
    "tiff of 64 megapixels of 11 bits": lambda: deep_tiff((7900, 7900), 11, rows=16),
    "tiff of 90,000 tiles": tiff_of_small_tiles,
    "tiff of 990 pages": lambda: tiff_of_pages(990),
    "tiff with 80 MB of XMP": lambda: tiff_with((700, 1, 80_000_000, 200)),
    "avif with junk behind its end": lambda: encoded(four_corners(), "AVIF") + JUNK,
    "avif of 500,000 properties": lambda: with_property(
        encoded(four_corners(), "AVIF"), box(b"free", b"") * 500_000, associated=False
    ),
    "heic with junk behind its end": lambda: heif() + JUNK,
    "icon with zeros behind its end": lambda: encoded(four_corners(), "ICO") + ZEROS,
}
"""Each may be rendered, but must not take long."""

Tried = Callable[..., trial.Verdict]


@pytest.fixture(scope="module")
def _child() -> Iterator[Callable[[Task], trial.Verdict]]:
    with trial.child() as tried:
        yield tried


@pytest.fixture
def tried(_child: Callable[[Task], trial.Verdict], tmp_path: Path) -> Iterator[Tried]:
    """Render some bytes in a child that is used for all of them: none may end it."""
    source = tmp_path / "source"

    def in_the_child(data: bytes, **options: Any) -> trial.Verdict:
        source.write_bytes(data)
        kind = sniff(data[:SIGNATURE_BYTES])
        assert kind is not None, "the picture's format is not one that would be accepted"
        verdict = _child(
            Task(source, kind, Resize.model_validate({"width": 64} | options), tmp_path / "result", LIMITS)
        )
        assert verdict.cost < MOST_COST
        assert verdict.peak_bytes < trial.CHILD_BYTES
        return verdict

    yield in_the_child
    source.unlink(missing_ok=True)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_at_once(name: str, tried: Tried) -> None:
    make, code = REFUSED[name]
    result = tried(make()).result
    assert isinstance(result, Refusal), result
    failure = result.failure
    assert failure.code is code, failure
    if "expected at most" in failure.detail:
        assert failure.limit is not None
        assert failure.actual is not None
        assert failure.actual > failure.limit


@pytest.mark.parametrize("name", RENDERED)
def test_it_is_rendered_at_once(name: str, tried: Tried) -> None:
    result = tried(RENDERED[name]()).result
    assert isinstance(result, RenderOutcome), result


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: png(before=chunk(b"eXIf", exif_of_fractions(1_000_000))),
        lambda: webp_with(0x08, b"EXIF", exif_of_fractions(1_000_000)),
        lambda: webp_with(0x04, b"XMP ", bytes(8 * MIB)),
    ],
)
def test_enormous_metadata_is_dropped_with_a_warning(make: Maker, output: str, tried: Tried) -> None:
    result = tried(make(), metadata="keep", format=output).result
    assert isinstance(result, RenderOutcome), result
    assert result.files[0].bytes < MIB
    assert WarningCode.METADATA_DROPPED in codes(result)


def test_a_bound_says_what_was_expected_and_found(tried: Tried) -> None:
    result = tried(scans(100, (512, 512))).result
    assert isinstance(result, Refusal)
    assert result.failure.detail == "expected at most 100 scans, found 101 or more"
    assert (result.failure.limit, result.failure.actual) == (100, 101)


def test_a_tiff_whose_pointer_to_exif_is_wrong_is_read_all_the_same(tried: Tried) -> None:
    data = tiff(with_tags(grey_tags(64, 64), (0x8769, LONG, 1, 1000)), behind=JUNK[:1_000_000])
    assert isinstance(tried(data).result, RenderOutcome)


def test_a_chain_of_pages_ends_where_it_leads_nowhere(tried: Tried) -> None:
    data = tiff(grey_tags(8, 8), following=2**31)
    result = tried(data).result
    assert isinstance(result, RenderOutcome)
    assert result.facts.frames == 1


def test_directories_that_lead_to_ever_more_are_followed_three_levels_down(tried: Tried) -> None:
    """Each of 100,000 leads to two others."""
    each = len(directory([(0x8769, LONG, 1, 0), (0x8825, LONG, 1, 0)]))
    first = len(tiff(with_tags(grey_tags(8, 8), (0x8769, LONG, 1, 0))))
    tree = b"".join(
        directory(
            [(0x8769, LONG, 1, first + (2 * number + 1) * each), (0x8825, LONG, 1, first + (2 * number + 2) * each)]
        )
        for number in range(100_000)
    )
    result = tried(tiff(with_tags(grey_tags(8, 8), (0x8769, LONG, 1, first)), behind=tree)).result
    assert isinstance(result, RenderOutcome)
