"""A picture on its way through the pipeline, and the colours and modes that the steps work in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from img_contract.outcome import Facts, ResultWarning, WarningCode
from PIL import Image

from .formats import Encoder
from .geometry import Plan

OPAQUE: Final = 255
"""Alpha of a pixel that hides what is behind it."""

UPRIGHT: Final = 1
"""EXIF orientation of a picture that is stored as it is seen."""


@dataclass(frozen=True)
class Picture:
    """What a step takes and returns; a step never changes the one it was given, nor the image in it.

    `image` is lazy (not decoded) up to the step `decode`, then of mode L, RGB, RGBA or CMYK with 8 bits a channel, and
    from `to_srgb` on L, RGB or RGBA in sRGB. It is as stored up to `turn_upright`.
    """

    image: Image.Image
    facts: Facts
    plan: Plan
    """In upright pixels."""
    encoder: Encoder
    profile: bytes | None
    """The embedded ICC profile."""
    orientation: int = UPRIGHT
    """The EXIF orientation that is still to be applied; some decoders apply it themselves."""
    warnings: tuple[ResultWarning, ...] = ()
    padded: bool = False
    """Whether its transparent parts may be ours: what lies around a contained picture."""
    memory: int = 0
    """Address space that may be used for it, in bytes."""

    @property
    def sideways(self) -> bool:
        """Whether width and height change places when it is turned upright (EXIF orientations 5 to 8)."""
        return self.orientation >= 5  # noqa: PLR2004  the EXIF standard's numbering

    def having(self, image: Image.Image) -> Picture:
        """The same with another image."""
        return replace(self, image=image)

    def warned(self, code: WarningCode, detail: str) -> Picture:
        """The same with one more warning."""
        return replace(self, warnings=(*self.warnings, ResultWarning(code=code, detail=detail)))


def rgba(colour: str) -> tuple[int, int, int, int]:
    """A colour as `Resize` holds it, #rrggbbaa, as four numbers from 0 to 255."""
    red, green, blue, alpha = bytes.fromhex(colour.removeprefix("#"))
    return (red, green, blue, alpha)
