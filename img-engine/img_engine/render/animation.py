"""Animations frame by frame: what a reader of a format gives, and how its parts are put on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from PIL import Image

_NOTHING: Final = (0, 0, 0, 0)


class Afterwards(Enum):
    """What becomes of a part before the next one is put on the canvas."""

    STAYS = "stays"
    CLEARED = "cleared"
    UNDONE = "undone"


@dataclass(frozen=True)
class Part:
    """What is new in a frame."""

    at: tuple[int, int]
    """Left and top on the canvas, in pixels."""
    size: tuple[int, int]
    milliseconds: float
    afterwards: Afterwards
    replaces: bool
    """Whether it takes the place of what was there, transparent parts included; else it lies over it."""
    decode: Callable[[], Image.Image]
    """Gives it as Pillow has it; raises what decoders raise."""


@dataclass(frozen=True)
class Frame:
    """One picture of an animation, or the only one."""

    image: Image.Image
    """The whole canvas, what earlier frames left included."""
    milliseconds: float
    """How long it is shown; 0 is what the file says where it says nothing."""


def play(
    parts: tuple[Part, ...], canvas_size: tuple[int, int], usual_mode: Callable[[Image.Image], Image.Image]
) -> Iterator[Frame]:
    """Each frame as RGBA, or as RGB if nothing shows through. The canvas is transparent where nothing was painted.

    `usual_mode` brings what was decoded to a mode that has its transparency in a channel.
    """
    canvas = Image.new("RGBA", canvas_size, _NOTHING)
    for part in parts:
        tile = usual_mode(part.decode()).convert("RGBA")
        before = canvas.copy() if part.afterwards is Afterwards.UNDONE else canvas
        if part.replaces:
            canvas.paste(tile, part.at)
        else:
            _lay_over(canvas, tile, part.at)
        opaque = canvas.getchannel("A").getextrema() == (255, 255)
        yield Frame(canvas.convert("RGB") if opaque else canvas.copy(), part.milliseconds)
        if part.afterwards is Afterwards.CLEARED:
            left, top = part.at
            canvas.paste(_NOTHING, (left, top, left + part.size[0], top + part.size[1]))
        elif part.afterwards is Afterwards.UNDONE:
            canvas = before


def _lay_over(canvas: Image.Image, tile: Image.Image, at: tuple[int, int]) -> None:
    """Alpha composition; what hangs over the edge of the canvas is cut off."""
    width, height = (min(part, whole - start) for part, whole, start in zip(tile.size, canvas.size, at, strict=True))
    if width > 0 and height > 0:
        canvas.alpha_composite(tile.crop((0, 0, width, height)) if tile.size != (width, height) else tile, at)
