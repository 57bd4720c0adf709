"""What the pipeline works on: an upload that is read once, and pictures on their way to a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from img_contract.job.formats import Format
from img_contract.job.outcome import Facts, ResultWarning, WarningCode
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.animation import Part
from img_engine.render.formats import Encoder
from img_engine.render.geometry import Plan
from img_engine.render.orientation import UPRIGHT, Box, as_seen

Region = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, perhaps within one: an edge of a picture that was decoded smaller."""

OPAQUE: Final = 255
"""Alpha of a pixel that hides what is behind it."""


@dataclass(frozen=True)
class PictureLimits:
    """How large a picture may be."""

    pixels: int
    frames: int
    memory: int
    """Address space of the child that renders it, in bytes."""
    animation_pixels: int
    """Of all frames together."""


@dataclass(frozen=True)
class Result:
    """One result that is wanted of an upload."""

    name: str | None
    """A variant's name; None for the result that has none."""
    ask: Resize
    plan: Plan
    encoder: Encoder
    keeps_frames: bool
    """Whether an animation stays one."""

    def stored_size(self, orientation: int) -> tuple[int, int]:
        """The size that it is scaled to, as stored: before it is turned upright."""
        return as_seen(self.plan.scaled, orientation)


@dataclass(frozen=True)
class Upload:
    """A picture file whose header was read and judged. Steps that load it return it changed, and decode it last."""

    file: BinaryIO
    image: Image.Image
    """As Pillow opened it: not decoded, unless a step had to look at its pixels."""
    format: Format
    facts: Facts
    limits: PictureLimits
    profile: bytes | None
    """The embedded ICC profile."""
    exif_orientation: int
    """What is still to be done by EXIF; some decoders do it themselves."""
    orientation: int
    """The same with the turns and mirrors that were asked for."""
    region: Box
    """The part that is used, in pixels as stored."""
    parts: tuple[Part, ...] = ()
    """What the frames of a GIF or an animated PNG are made of."""
    accept: tuple[Format, ...] = ()
    """Formats that the client takes; empty if it did not say."""
    results: tuple[Result, ...] = ()
    warnings: tuple[ResultWarning, ...] = ()

    @property
    def animated(self) -> bool:
        """Whether it moves; pages of a TIFF and pictures beside a HEIC's first do not."""
        return self.facts.frames > 1 and self.format in (Format.GIF, Format.PNG, Format.WEBP, Format.AVIF)

    @property
    def stored(self) -> tuple[int, int]:
        """Its size as stored, which `image` may be decoded smaller than."""
        return as_seen((self.facts.width, self.facts.height), self.exif_orientation)

    def warned(self, code: WarningCode, detail: str) -> Upload:
        """The same with one more warning."""
        return replace(self, warnings=(*self.warnings, ResultWarning(code=code, detail=detail)))


@dataclass(frozen=True)
class Picture:
    """One frame on its way to one result. A step never changes the one it was given, nor the image in it.

    `image` is of mode L, RGB, RGBA or CMYK with 8 bits a channel, and from `to_srgb` on L, RGB or RGBA. It is as stored
    up to `turn_upright`.
    """

    image: Image.Image
    region: Region
    """The part of `image` that is used; `scale` makes it the whole."""
    plan: Plan
    """In upright pixels."""
    encoder: Encoder
    profile: bytes | None
    orientation: int = UPRIGHT
    warnings: tuple[ResultWarning, ...] = ()
    padded: bool = False
    """Whether its transparent parts may be ours: what lies around a contained picture."""
    cut: tuple[int, int] | None = None
    """Where the first frame was cut; the others are cut there, too."""
    stamp: Image.Image | None = None
    """The watermark, RGBA in sRGB."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """The planned size as stored: width and height change places if it lies on its side."""
        return as_seen(self.plan.scaled, self.orientation)

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
