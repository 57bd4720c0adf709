"""The appearance of a result, for the status: its dominant colour, and a placeholder to show while it loads."""

from __future__ import annotations

import base64
from typing import Final

import numpy as np
from img_contract.job.choices import Placeholder
from img_contract.job.outcome import Facts
from img_contract.job.resize import Resize
from PIL import Image
from thash import rgba_to_thumb_hash

from img_engine.render.icc import ERRORS, converted

_THUMBHASH_SIDE: Final = 100
"""The longer side of what a ThumbHash is made of, in pixels, at most (https://evanw.github.io/thumbhash/)."""

SAMPLE_SIDE: Final = 16
"""Each side of the picture in which the dominant colour is counted, in pixels."""

_HALF: Final = 128


def with_appearance(facts: Facts, image: Image.Image, options: Resize, profile: bytes | None = None) -> Facts:
    """Add the appearance of a picture (L, RGB or RGBA, in sRGB unless it has a profile) to the facts."""
    small = _in_srgb(image.resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.NEAREST), profile)
    more = {"dominant_color": dominant_colour(small)}
    if options.placeholder is Placeholder.THUMBHASH:
        small = image.convert("RGBA")
        small.thumbnail((_THUMBHASH_SIDE, _THUMBHASH_SIDE))
        more["placeholder"] = thumbhash(_in_srgb(small, profile))
    return facts.model_copy(update=more)


def dominant_colour(image: Image.Image) -> str | None:
    """Return the most frequent visible colour of a small picture as #rrggbb; None if nothing is visible.

    Counted in eight levels a channel; the mean of what is on the most frequent one.
    """
    pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    pixels = pixels[pixels[:, 3] >= _HALF, :3].astype(np.uint16)
    if not len(pixels):
        return None
    levels = (pixels >> 5) @ np.array([64, 8, 1], dtype=np.uint16)
    red, green, blue = pixels[levels == np.bincount(levels).argmax()].mean(axis=0).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def thumbhash(image: Image.Image) -> str:
    """Return the ThumbHash of RGBA of at most 100 pixels a side in base64: some 25 bytes.

    They give a blurred picture with its shape and transparency.
    """
    return base64.b64encode(bytes(rgba_to_thumb_hash(*image.size, list(image.tobytes())))).decode()


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image
    try:
        return converted(image, profile)
    except ERRORS:
        return image
