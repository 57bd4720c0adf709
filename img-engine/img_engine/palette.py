"""Pictures with at most 256 colours, as GIF and small PNGs hold them."""

from __future__ import annotations

from typing import Final

from PIL import Image

from .picture import OPAQUE

_COLOURS: Final = 256
_HALF: Final = 128


def translucent(image: Image.Image) -> bool:
    """Whether it has pixels that are neither opaque nor invisible."""
    return image.mode == "RGBA" and any(image.getchannel("A").histogram()[1:OPAQUE])


def to_palette(image: Image.Image) -> Image.Image:
    """An RGB, RGBA or L picture with a palette (L as it is); a pixel is opaque or invisible afterwards."""
    if image.mode == "L":
        return image
    if image.mode != "RGBA":
        return image.quantize(_COLOURS, Image.Quantize.MEDIANCUT)
    visible = image.getchannel("A").point(lambda alpha: OPAQUE if alpha >= _HALF else 0)
    if visible.getextrema() == (OPAQUE, OPAQUE):
        return image.convert("RGB").quantize(_COLOURS, Image.Quantize.MEDIANCUT)
    # One entry stands for the invisible; their colours must not take any of the others.
    shown = Image.new("RGB", image.size)
    shown.paste(image.convert("RGB"), mask=visible)
    indexed = shown.quantize(_COLOURS - 1, Image.Quantize.MEDIANCUT)
    indexed.paste(_COLOURS - 1, mask=visible.point(lambda shown: OPAQUE - shown))
    indexed.info["transparency"] = _COLOURS - 1
    return indexed


def to_translucent_palette(image: Image.Image) -> Image.Image:
    """An RGB, RGBA or L picture with a palette whose entries have an alpha of their own (PNG)."""
    if not translucent(image):
        return to_palette(image)
    return image.quantize(_COLOURS, Image.Quantize.FASTOCTREE)
