"""BMPs of palettes that Pillow does not read: 2 bits a pixel, run lengths with gaps; and masks with alpha."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode
from img_engine.render.task import Refusal
from img_testing.bombs import indexed_bmp
from PIL import Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., Any]
COLOURS = {(0, 0, 0): "k", (255, 0, 0): "r", (0, 255, 0): "g", (0, 0, 255): "b"}


def seen(image: Image.Image) -> list[str]:
    rgb = image.convert("RGB")
    return ["".join(COLOURS[rgb.getpixel((x, y))] for x in range(rgb.width)) for y in range(rgb.height)]  # type: ignore[index]


@pytest.mark.parametrize("header", [12, 40])
@pytest.mark.parametrize("upwards", [True, False])
def test_two_bits_a_pixel(header: int, upwards: bool, rendered: Rendered) -> None:
    if header == 12 and not upwards:
        pytest.skip("its sides have no sign")
    rows = bytes((0b00011011, 0b01000000, 0, 0)), bytes((0b11111111, 0b11000000, 0, 0))
    pixels = b"".join(rows[::-1] if upwards else rows)
    image, _ = rendered(indexed_bmp(2, 0, pixels, (5, 2 if upwards else -2), header=header), width="100%")
    assert seen(image) == ["krgbr", "bbbbb"]


@pytest.mark.parametrize(
    ("bits", "runs", "expected"),
    [
        (8, b"\3\1\0\0\0\3\1\2\3\0\0\1", ["rgbk", "rrrk"]),  # runs, pixels as they are, an early end
        (8, b"\0\2\1\1\2\2\0\1", ["kggk", "kkkk"]),  # some are skipped
        (8, b"\x09\1\0\0\4\2", ["gggg", "rrrr"]),  # a run over the edge, no end
        (8, b"\0\1", ["kkkk", "kkkk"]),
        (4, b"\4\x12\0\0\0\3\x12\x30\0\1", ["rgbk", "rgrg"]),
        (4, b"\0\2\0\1\3\x31\0\1", ["brbk", "kkkk"]),
    ],
)
def test_runs_that_leave_out_pixels(bits: int, runs: bytes, expected: list[str], rendered: Rendered) -> None:
    image, result = rendered(indexed_bmp(bits, 2 if bits == 4 else 1, runs, (4, 2)), width="100%")
    assert seen(image) == expected
    assert result.warnings == ()


@pytest.mark.parametrize("data", [indexed_bmp(2, 0, b"\0" * 7, (4, 2)), indexed_bmp(8, 1, b"\4\1\0\0", (4, 2))])
def test_missing_pixels_are_corrupt(data: bytes, attempt: Rendered) -> None:
    result = attempt(data, width="100%")
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_CORRUPT


def test_masks_with_alpha_behind_the_first_header(rendered: Rendered) -> None:
    """BI_ALPHABITFIELDS, with the very masks that Pillow knows elsewhere."""
    about = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 32, 6, 4, 0, 0, 0, 0)
    about += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = b"BM" + struct.pack("<IHHI", 74, 0, 0, 70) + about + bytes((10, 20, 30, 128))
    image, _ = rendered(data, width="100%")
    assert image.convert("RGBA").getpixel((0, 0)) == (30, 20, 10, 128)
