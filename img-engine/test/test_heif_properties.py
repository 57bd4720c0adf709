"""What AVIF and HEIC say beside the pixels: the visible part, the shape of pixels, gain maps, matrices."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from img_contract.job.outcome import FailureCode, WarningCode
from img_engine.render.task import Refusal, RenderOutcome
from img_testing.bombs import heif
from img_testing.heif_boxes import box, with_item, with_property
from img_testing.samples import STORED, codes, encoded, photo
from PIL import Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]
CASES = Path(__file__).parents[3] / "shared" / "cases"
SIZE = (64, 48)


def clap(width: int, height: int, across: int = 0, down: int = 0, below: int = 1) -> bytes:
    """The offsets are in parts of a pixel: one `below`-th each."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, across, below, down, below))


def avif(**options: object) -> bytes:
    return encoded(photo(SIZE), "AVIF", quality=95, subsampling="4:4:4", **options)


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one.convert("RGB")).astype(int) - np.asarray(other.convert("RGB"))).mean())


@pytest.mark.parametrize(
    ("part", "left_top"),
    [
        (clap(32, 24), (16, 12)),
        (clap(20, 10, -22, 19), (0, 38)),
        (clap(31, 24, 1, 0, 2), (17, 12)),
        (clap(64, 24), (0, 12)),
    ],
)
def test_an_avif_is_cut_to_its_visible_part(part: bytes, left_top: tuple[int, int], rendered: Rendered) -> None:
    width, height = struct.unpack(">8xI4xI", part[:20])
    image, result = rendered(with_property(avif(), part), width="100%", format="png")
    assert (result.facts.width, result.facts.height) == (width, height)
    expected = photo(SIZE).crop((*left_top, left_top[0] + width, left_top[1] + height))
    assert difference(image, expected) < 3


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_the_visible_part_is_turned_after_it_was_cut(orientation: int, rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    image, _ = rendered(with_property(avif(exif=exif), clap(30, 20, -10, 4)), width="100%", format="png")
    # STORED undoes an orientation; the one that brings it back is that of the inverse turn.
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    expected = photo(SIZE).crop((7, 18, 37, 38)).transpose(STORED[inverse] or Image.Transpose.ROTATE_180)
    assert difference(image, expected) < 3


def test_crop_and_trim_begin_at_the_visible_part(rendered: Rendered) -> None:
    data = with_property(avif(), clap(40, 30))
    image, _ = rendered(data, width="100%", format="png", crop="5,6,10,12")
    assert difference(image, photo(SIZE).crop((17, 15, 27, 27))) < 4


def test_every_frame_is_cut(rendered: Rendered) -> None:
    frames = [photo(SIZE).rotate(90 * turn) for turn in range(3)]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], duration=50)
    image, result = rendered(with_property(data, clap(32, 24)), width="100%", format="webp", lossless=True)
    assert image.size == (32, 24)
    assert result.files[0].frames == 3


@pytest.mark.parametrize("part", [clap(100, 24), clap(32, 24, 60), clap(0, 0), box(b"clap", bytes(32))])
def test_a_part_beyond_the_picture_is_ignored(part: bytes, rendered: Rendered) -> None:
    image, _ = rendered(with_property(avif(), part), width="100%", format="png")
    assert image.size == SIZE


@pytest.mark.parametrize("make", [avif, heif])
def test_pixels_that_are_not_square_are_named(make: Callable[[], bytes], rendered: Rendered) -> None:
    data = with_property(make(), box(b"pasp", struct.pack(">II", 2, 1)))
    _, result = rendered(data, width=20)
    assert WarningCode.PIXELS_NOT_SQUARE in codes(result)
    _, result = rendered(with_property(make(), box(b"pasp", struct.pack(">II", 3, 3))), width=20)
    assert result.warnings == ()


@pytest.mark.parametrize("matrix", [10, 14])
def test_a_matrix_that_cannot_be_read_is_named(matrix: int, attempt: Callable[..., RenderOutcome | Refusal]) -> None:
    data = bytearray(avif())
    at = data.index(b"nclx")
    data[at + 8 : at + 10] = struct.pack(">H", matrix)
    result = attempt(bytes(data), width=20)
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_UNSUPPORTED
    assert f"matrix {matrix}" in result.failure.detail


def test_a_gain_map_is_named_as_lost(rendered: Rendered) -> None:
    _, result = rendered(with_item(avif(), b"tmap"), width=20)
    assert codes(result) == [WarningCode.GAIN_MAP_DROPPED]
    apples = box(b"auxC", bytes(4) + b"urn:com:apple:photo:2020:aux:hdrgainmap\0")
    _, result = rendered(with_property(heif(), apples, associated=False), width=20)
    assert codes(result) == [WarningCode.GAIN_MAP_DROPPED]


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
def test_the_public_reports_are_closed(rendered: Rendered, attempt: Callable[..., RenderOutcome | Refusal]) -> None:
    image, _ = rendered((CASES / "avif-clap-385x330-of-722x1024.avif").read_bytes(), width="100%", format="png")
    assert image.size == (385, 330)
    result = attempt((CASES / "avif-bt2020-constant-luminance-called-corrupt.avif").read_bytes(), width=64)
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_UNSUPPORTED
