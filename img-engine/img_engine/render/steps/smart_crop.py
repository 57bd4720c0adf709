"""Finding the part of a picture that draws the eye: edges, skin and saturated colours, as smartcrop rates them."""

from __future__ import annotations

from typing import Final

from PIL import Image
from smartcrop import SmartCrop

_ANALYSED_SIDE: Final = 256
"""The longer side of the picture that is analysed, in pixels; more detail does not improve the choice."""


def most_interesting(image: Image.Image, canvas: tuple[int, int]) -> tuple[int, int]:
    """Return left and top of the most interesting box of that size, which is as wide or as high as the picture."""
    factor = min(1.0, _ANALYSED_SIDE / max(image.size))
    width, height = (max(1, round(side * factor)) for side in image.size)
    box = (max(1, round(canvas[0] * factor)), max(1, round(canvas[1] * factor)))
    small = image.convert("RGBA").resize((width, height), Image.Resampling.BOX)
    seen = Image.new("RGBA", small.size, "white")  # transparent pixels draw no attention
    seen.alpha_composite(small)
    found = SmartCrop().analyse(seen.convert("RGB"), *box, min_scale=1, step=4)["top_crop"]
    left, top = (
        min(max(0, round(at / factor)), whole - part)
        for at, whole, part in zip((found["x"], found["y"]), image.size, canvas, strict=True)
    )
    return left, top
