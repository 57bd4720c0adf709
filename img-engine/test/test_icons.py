"""Of an icon, the best picture is taken: the largest, of most colours, and as transparent as it says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from img_testing.samples import encoded
from PIL import Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., Any]


def icon(*pictures: bytes) -> bytes:
    """All entries say 16 × 16 and 32 bits, whatever is true."""
    table, at = struct.pack("<HHH", 0, 1, len(pictures)), 6 + 16 * len(pictures)
    for number, one in enumerate(pictures):
        before = sum(len(other) for other in pictures[:number])
        table += struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(one), at + before)
    return table + b"".join(pictures)


def dib(bits: int, pixel: bytes, *, side: int = 8, mask: int = 0) -> bytes:
    """Equal pixels in rows of whole words; the topmost row is invisible by the mask if that is 0xFF."""
    row = (pixel * side)[: -(-side * bits // 32) * 4].ljust(-(-side * bits // 32) * 4, b"\0")
    palette = bytes((0, 0, 0, 0, 0, 0, 255, 0)).ljust(4 << bits, b"\0") if bits <= 8 else b""
    masked = bytes(4) * (side - 1) + bytes((mask,)) * 4
    return struct.pack("<IiiHHIIiiII", 40, side, 2 * side, 1, bits, 0, 0, 0, 0, 0, 0) + palette + row * side + masked


RED = (255, 0, 0, 255)


@pytest.mark.parametrize(
    ("bits", "pixel"), [(1, b"\xff"), (4, b"\x11"), (8, b"\1"), (24, b"\0\0\xff"), (32, b"\0\0\xff\0")]
)
def test_the_mask_says_what_is_transparent(bits: int, pixel: bytes, rendered: Rendered) -> None:
    """Also of 32 bits, if alpha is 0 everywhere."""
    image, _ = rendered(icon(dib(bits, pixel, mask=0xFF)), width="100%")
    assert image.size == (8, 8)
    assert image.convert("RGBA").getpixel((3, 0))[3] == 0
    assert {image.convert("RGBA").getpixel((x, 1)) for x in range(8)} == {RED}


def test_alpha_counts_before_the_mask(rendered: Rendered) -> None:
    image, _ = rendered(icon(dib(32, b"\0\0\xff\x80", mask=0xFF)), width="100%")
    assert image.getpixel((3, 0)) == (255, 0, 0, 128)


def test_a_mask_that_is_missing_makes_nothing_transparent(rendered: Rendered) -> None:
    image, _ = rendered(icon(dib(32, b"\0\0\xff\0")[:-32]), width="100%")
    assert image.convert("RGBA").getpixel((3, 0)) == RED


def test_the_largest_is_taken_and_of_those_the_one_of_most_colours(rendered: Rendered) -> None:
    small, few, many = dib(32, b"\xff\0\0\xff", side=4), dib(4, b"\0"), dib(32, b"\0\0\xff\xff")
    for order in ((small, few, many), (many, few, small), (few, many)):
        image, _ = rendered(icon(*order), width="100%")
        assert image.convert("RGBA").getpixel((3, 3)) == RED
        assert image.size == (8, 8)


def test_a_png_of_a_palette_keeps_its_transparency(rendered: Rendered) -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(0, (0, 0, 8, 4))
    image, _ = rendered(icon(encoded(picture, transparency=0)), width="100%")
    assert [image.convert("RGBA").getpixel((3, y))[3] for y in (0, 7)] == [0, 255]
