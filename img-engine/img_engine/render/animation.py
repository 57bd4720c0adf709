"""Animations frame by frame: the patches that a file stores, and how they are composed on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from PIL import Image

_NOTHING: Final = (0, 0, 0, 0)


class Disposal(Enum):
    """What happens to a patch before the next one is put on the canvas, in the formats' own words."""

    NONE = "none"
    BACKGROUND = "background"
    PREVIOUS = "previous"


@dataclass(frozen=True)
class FramePatch:
    """The part of the canvas that a frame changes."""

    at: tuple[int, int]
    """Left and top on the canvas, in pixels."""
    size: tuple[int, int]
    milliseconds: float
    disposal: Disposal
    blend: bool
    """Whether it is blended over what was there; else it replaces it, transparent pixels included."""
    decode: Callable[[], Image.Image]
    """Returns the pixels in any mode of Pillow's; raises what decoders raise."""


@dataclass(frozen=True)
class Frame:
    """One picture of an animation, or the only one."""

    image: Image.Image
    """The whole canvas, including what earlier frames left."""
    milliseconds: float
    """How long it is shown; 0 if the file does not say."""


def compose(
    patches: tuple[FramePatch, ...], canvas_size: tuple[int, int], usual_mode: Callable[[Image.Image], Image.Image]
) -> Iterator[Frame]:
    """Yield each frame as RGBA, or as RGB if it is opaque. The canvas is transparent where nothing was painted.

    `usual_mode` converts a decoded picture to a mode that has its transparency in a channel.
    """
    canvas = Image.new("RGBA", canvas_size, _NOTHING)
    for patch in patches:
        tile = usual_mode(patch.decode()).convert("RGBA")
        before = canvas.copy() if patch.disposal is Disposal.PREVIOUS else canvas
        if patch.blend:
            _lay_over(canvas, tile, patch.at)
        else:
            canvas.paste(tile, patch.at)
        opaque = canvas.getchannel("A").getextrema() == (255, 255)
        yield Frame(canvas.convert("RGB") if opaque else canvas.copy(), patch.milliseconds)
        if patch.disposal is Disposal.BACKGROUND:
            left, top = patch.at
            canvas.paste(_NOTHING, (left, top, left + patch.size[0], top + patch.size[1]))
        elif patch.disposal is Disposal.PREVIOUS:
            canvas = before


def _lay_over(canvas: Image.Image, tile: Image.Image, at: tuple[int, int]) -> None:
    """Blend a tile over the canvas; what hangs over the edge is cut off."""
    width, height = (min(part, whole - start) for part, whole, start in zip(tile.size, canvas.size, at, strict=True))
    if width > 0 and height > 0:
        canvas.alpha_composite(tile.crop((0, 0, width, height)) if tile.size != (width, height) else tile, at)
