"""From a file to pixels in one of the modes that the later steps know."""

from __future__ import annotations

import math
from typing import Final, cast

from img_contract.job import Resize
from PIL import Image

from img_engine.picture import Picture

_MARGIN: Final = 2
"""A JPEG is decoded at least this many times as large as it will be, so that the resampling filter decides its look."""


def shrink_on_load(picture: Picture, _: Resize) -> Picture:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that is still larger than needed. No effect on other formats."""
    width, height = picture.plan.scaled
    if picture.sideways:
        width, height = height, width
    picture.image.draft(None, (width * _MARGIN, height * _MARGIN))
    return picture


def decode(picture: Picture, _: Resize) -> Picture:
    """Decode, and bring any mode to L, RGB, RGBA or CMYK of 8 bits: no palette can be resampled, 16 bits are scaled."""
    image = picture.image
    image.load()
    if image.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    return picture.having(image)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a picture of one wide channel to L.

    By the range that its samples are in: 0…1 (floating point only), 0…255 or 0…65535; samples beyond those are
    measurements, of which the lowest becomes black and the highest white.
    """
    samples = image.convert("F")
    lowest, highest = cast("tuple[float, float]", samples.getextrema())
    black, white = 0.0, 65535.0
    if lowest < 0 or highest > white:
        black, white = lowest, max(highest, math.nextafter(lowest, math.inf))
    elif image.mode == "F" and highest <= 1:
        white = 1.0
    elif image.mode in ("I", "F") and highest <= 255:  # noqa: PLR2004  eight bits in a wide channel
        white = 255.0
    gain = 255.0 / (white - black)
    return samples.point(lambda sample: sample * gain + (0.5 - black * gain)).convert("L")
