"""The values that the pipeline works on: an upload, which is read once, and pictures on their way to a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from img_contract.job.formats import Format
from img_contract.job.outcome import Facts, ResultWarning, WarningCode
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.animation import FramePatch
from img_engine.render.cicp import Cicp
from img_engine.render.formats import Encoder
from img_engine.render.geometry import Sizes
from img_engine.render.orientation import UPRIGHT, Box, as_seen
from img_engine.render.task import PictureLimits

Region = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; fractions where a picture was decoded smaller than it is stored."""

OPAQUE: Final = 255
"""Alpha of an opaque pixel."""


@dataclass(frozen=True)
class ResultPlan:
    """One result that is to be made of an upload."""

    name: str | None
    """The variant's name; None for the result that is no variant."""
    options: Resize
    sizes: Sizes
    encoder: Encoder
    keeps_frames: bool
    """Whether an animation stays animated."""

    def stored_size(self, orientation: int) -> tuple[int, int]:
        """Return the size to scale to as stored: before it is turned upright."""
        return as_seen(self.sizes.scaled, orientation)


@dataclass(frozen=True)
class Upload:
    """A picture file whose header was read and checked. The loading steps return changed copies; it is decoded last."""

    file: BinaryIO
    image: Image.Image
    """As Pillow opened it: not decoded, unless a step had to see its pixels."""
    format: Format
    facts: Facts
    limits: PictureLimits
    profile: bytes | None
    """The ICC profile: embedded, or made of what the file says otherwise."""
    exif_orientation: int
    """The EXIF orientation that is still to be applied; some decoders apply it themselves."""
    orientation: int
    """The same, combined with the turns and mirrors of the options."""
    region: Box
    """The part of the picture that is used, in pixels as stored."""
    window: Box | None = None
    """The part of `image` that is the picture, where that is not all of it. `region` and `stored` are within."""
    patches: tuple[FramePatch, ...] = ()
    """The stored frames of a GIF or an animated PNG."""
    hdr: Cicp | None = None
    """The meaning of colours of high dynamic range, which no profile says."""
    decoder_bytes: int = 0
    """Memory that decoding takes beside the pixels, where that is much."""
    accept: tuple[Format, ...] = ()
    """Formats that the client accepts; empty if it named none."""
    results: tuple[ResultPlan, ...] = ()
    warnings: tuple[ResultWarning, ...] = ()

    @property
    def animated(self) -> bool:
        """Return whether it is an animation; the pages of a TIFF and the further pictures of a HEIC are none."""
        return self.facts.frames > 1 and self.format in (Format.GIF, Format.PNG, Format.WEBP, Format.AVIF)

    @property
    def stored(self) -> tuple[int, int]:
        """Return its size as stored; `image` may be decoded smaller."""
        return as_seen((self.facts.width, self.facts.height), self.exif_orientation)

    def warned(self, code: WarningCode, detail: str) -> Upload:
        """Return the same with one more warning."""
        return replace(self, warnings=(*self.warnings, ResultWarning(code=code, detail=detail)))


@dataclass(frozen=True)
class Picture:
    """One frame on its way to one result. A step changes neither the picture that it is given nor the image in it.

    `image` is of mode L, RGB, RGBA or CMYK with 8 bits a channel; from `convert_colours` on, of L, RGB or RGBA. It is
    as stored up to `turn_upright`.
    """

    image: Image.Image
    region: Region
    """The part of `image` that is used; `scale` makes it the whole."""
    sizes: Sizes
    """In upright pixels."""
    encoder: Encoder
    profile: bytes | None
    hdr: Cicp | None = None
    orientation: int = UPRIGHT
    warnings: tuple[ResultWarning, ...] = ()
    padded: bool = False
    """Whether transparent parts may come from padding around a contained picture."""
    cut: tuple[int, int] | None = None
    """Left and top of the first frame's cut, which all frames share."""
    watermark: Image.Image | None = None
    """The watermark, RGBA in sRGB."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """Return the planned size as stored: width and height change places if it lies on its side."""
        return as_seen(self.sizes.scaled, self.orientation)

    def having(self, image: Image.Image) -> Picture:
        """Return the same with another image."""
        return replace(self, image=image)

    def warned(self, code: WarningCode, detail: str) -> Picture:
        """Return the same with one more warning."""
        return replace(self, warnings=(*self.warnings, ResultWarning(code=code, detail=detail)))
