"""Pictures with at most 256 colours, as GIF and small PNGs hold them."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from img_engine.render.picture import OPAQUE
from img_engine.render.writing.rare_colours import centred, with_rare_colours

_COLOURS: Final = 256
_HALF: Final = 128

_FEW: Final = 2048
"""A picture with no more colours is quantised by all of their bits."""

_SEVEN_BITS: Final = [level & ~1 | 1 for level in range(256)] * 3


def translucent(image: Image.Image) -> bool:
    """Return whether it has pixels that are neither opaque nor invisible."""
    return image.mode == "RGBA" and any(image.getchannel("A").histogram()[1:OPAQUE])


def visible(image: Image.Image) -> Image.Image | None:
    """Return a mask of the pixels that are at least half opaque; None if all are."""
    if image.mode != "RGBA":
        return None
    mask = image.getchannel("A").point(lambda alpha: OPAQUE if alpha >= _HALF else 0)
    return None if mask.getextrema() == (OPAQUE, OPAQUE) else mask


def to_palette(image: Image.Image, *, clear_entry: bool = False) -> Image.Image:
    """Reduce RGB, RGBA or L to a palette; every pixel becomes opaque or invisible.

    `clear_entry` adds an invisible entry even if nothing is invisible: other frames may need it.
    """
    shown = visible(image)
    if shown is None and not clear_entry:
        return image if image.mode == "L" else _quantised(image.convert("RGB"), _COLOURS)
    painted = image.convert("RGB")
    if shown is not None:  # the colours of invisible pixels must not take entries
        painted = Image.composite(painted, Image.new("RGB", image.size), shown)
    indexed = _quantised(painted, _COLOURS - 1, shown)
    colours = (indexed.getpalette() or [])[: 3 * (_COLOURS - 1)]
    entry = len(colours) // 3
    indexed.putpalette([*colours, 0, 0, 0])
    if shown is not None:
        indexed.paste(entry, mask=shown.point(lambda alpha: OPAQUE - alpha))
    indexed.info["transparency"] = entry
    return indexed


def _quantised(image: Image.Image, colours: int, shown: Image.Image | None = None) -> Image.Image:
    """Reduce RGB to so many colours by median cut. What `shown` masks out, 0, does not count.

    Of a picture with many colours it sees seven bits of each channel, in a third of the time. As its entries are then
    made the means of what they stand for, the result is nearer to the picture than by eight bits without that.
    """
    if image.getcolors(_FEW):
        return with_rare_colours(image.quantize(colours, Image.Quantize.MEDIANCUT), image, shown)
    coarse = image.point(_SEVEN_BITS).quantize(colours, Image.Quantize.MEDIANCUT)
    return with_rare_colours(centred(coarse, image, shown), image, shown)


def to_translucent_palette(image: Image.Image) -> Image.Image:
    """Reduce RGB, RGBA or L to a palette whose entries have an alpha of their own (PNG)."""
    if not translucent(image):
        return to_palette(image)
    if image.getcolors(_COLOURS):
        return _exact(image)
    return image.quantize(_COLOURS, Image.Quantize.FASTOCTREE)


def _exact(image: Image.Image) -> Image.Image:
    """Return RGBA of at most 256 colours with those as its palette."""
    colours, pixels = np.unique(np.asarray(image).reshape(-1, 4), axis=0, return_inverse=True)
    made = Image.fromarray(pixels.reshape(image.height, image.width).astype(np.uint8), "P")
    made.putpalette(colours[:, :3].tobytes())
    made.info["transparency"] = colours[:, 3].tobytes()
    return made
