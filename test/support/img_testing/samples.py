"""Pictures and comparisons that several tests of the engine need."""

from __future__ import annotations

import io
from typing import Any

from img_contract.job.outcome import WarningCode
from PIL import ExifTags, Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored so that EXIF's number brings it back."""


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def four_corners(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red, green above; blue, white below."""
    image = Image.new("RGB", size)
    across, down = size[0] // 2, size[1] // 2
    for place, colour in zip(((0, 0), (across, 0), (0, down), (across, down)), (RED, GREEN, BLUE, WHITE), strict=True):
        image.paste(colour, (*place, place[0] + across, place[1] + down))
    return image


def photo(size: tuple[int, int]) -> Image.Image:
    """Something with edges and colours, and no symmetry."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", (across, down, Image.effect_mandelbrot(size, (-2, -1, 1, 1), 60)))
    image.paste((250, 20, 20), (size[0] // 8, size[1] // 8, size[0] // 3, size[1] // 4))
    return image


def lying(image: Image.Image, orientation: int, kind: str, **options: Any) -> bytes:
    """The upright picture, stored so that EXIF has to turn it."""
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image if turn is None else image.transpose(turn), kind, exif=exif, **options)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Its four corners, a quarter inwards: top left, top right, bottom left, bottom right."""
    rgb = image.convert("RGB")
    columns, rows = (rgb.width // 4, rgb.width * 3 // 4), (rgb.height // 4, rgb.height * 3 // 4)
    return [rgb.getpixel((x, y)) for y in rows for x in columns]  # type: ignore[misc]


def near(found: Any, expected: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


def all_near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], tolerance: int = 12) -> bool:
    return all(near(*pair, tolerance) for pair in zip(found, expected, strict=True))


def codes(result: Any) -> list[WarningCode]:
    return [warning.code for warning in result.warnings]
