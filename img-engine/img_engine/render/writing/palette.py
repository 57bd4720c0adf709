"""Pictures with at most 256 colours, as GIF and small PNGs hold them."""

from __future__ import annotations

from typing import Final

from PIL import Image

from img_engine.render.picture import OPAQUE

_COLOURS: Final = 256
_HALF: Final = 128


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
        return image if image.mode == "L" else image.convert("RGB").quantize(_COLOURS, Image.Quantize.MEDIANCUT)
    painted = image.convert("RGB")
    if shown is not None:  # the colours of invisible pixels must not take entries
        painted = Image.composite(painted, Image.new("RGB", image.size), shown)
    indexed = painted.quantize(_COLOURS - 1, Image.Quantize.MEDIANCUT)
    colours = (indexed.getpalette() or [])[: 3 * (_COLOURS - 1)]
    entry = len(colours) // 3
    indexed.putpalette([*colours, 0, 0, 0])
    if shown is not None:
        indexed.paste(entry, mask=shown.point(lambda alpha: OPAQUE - alpha))
    indexed.info["transparency"] = entry
    return indexed


def to_translucent_palette(image: Image.Image) -> Image.Image:
    """Reduce RGB, RGBA or L to a palette whose entries have an alpha of their own (PNG)."""
    if not translucent(image):
        return to_palette(image)
    return image.quantize(_COLOURS, Image.Quantize.FASTOCTREE)
