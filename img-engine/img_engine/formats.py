"""The formats as Pillow reads and writes them: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from img_contract.formats import MEDIA_TYPES, Format, OutputFormat
from img_contract.job import Resize
from PIL import Image

DECODERS: Final[dict[Format, tuple[str, ...]]] = {
    Format.JPEG: ("JPEG",),  # Pillow's JPEG plugin hands multi-picture files on to its MPO plugin
    Format.PNG: ("PNG",),
    Format.WEBP: ("WEBP",),
    Format.GIF: ("GIF",),
    Format.AVIF: ("AVIF",),
    Format.HEIC: ("HEIF",),  # pillow-heif
    Format.TIFF: ("TIFF",),
    Format.BMP: ("BMP", "DIB"),
}
"""Which of Pillow's plugins may open an upload whose first bytes say this format: an allow-list."""


@dataclass(frozen=True)
class Encoder:
    """How a format is written. Limits are the format's own."""

    pillow: str
    media_type: str
    extension: str
    modes: tuple[str, ...]
    """Pillow modes it takes, best first; a picture in another mode is converted to the first with what it needs."""
    largest_side: int
    lossy: bool
    options: Callable[[Resize], dict[str, Any]]
    """What is passed to `Image.save`."""

    @property
    def alpha(self) -> bool:
        """Whether it holds an alpha channel (GIF: one fully transparent colour)."""
        return "RGBA" in self.modes


def _jpeg(ask: Resize) -> dict[str, Any]:
    return {"quality": ask.quality or 80, "optimize": True, "subsampling": "4:2:0"}


def _png(_: Resize) -> dict[str, Any]:
    return {"compress_level": 6}


def _webp(ask: Resize) -> dict[str, Any]:
    return {"quality": ask.quality or 80, "method": 4}


def _avif(ask: Resize) -> dict[str, Any]:
    return {"quality": ask.quality or 60, "speed": 6, "max_threads": 1}  # one core a child


def _gif(_: Resize) -> dict[str, Any]:
    return {}


ENCODERS: Final[dict[OutputFormat, Encoder]] = {
    name: Encoder(pillow, MEDIA_TYPES[Format(name.value)], extension, modes, largest_side, lossy, options)
    for name, pillow, extension, modes, largest_side, lossy, options in (
        (OutputFormat.JPEG, "JPEG", "jpg", ("RGB", "L"), 65_535, True, _jpeg),
        (OutputFormat.PNG, "PNG", "png", ("RGB", "RGBA", "L", "LA"), 2**31 - 1, False, _png),
        (OutputFormat.WEBP, "WEBP", "webp", ("RGB", "RGBA"), 16_383, True, _webp),
        (OutputFormat.GIF, "GIF", "gif", ("RGB", "RGBA", "L"), 65_535, False, _gif),
        (OutputFormat.AVIF, "AVIF", "avif", ("RGB", "RGBA"), 65_536, True, _avif),
    )
}
"""Side limits are the formats' own: 16 bits in JPEG and GIF, 14 in WebP, 31 in PNG, 65,536 by libavif's default."""

_NEAREST: Final[dict[Format, OutputFormat]] = {
    Format.HEIC: OutputFormat.JPEG,
    Format.TIFF: OutputFormat.PNG,
    Format.BMP: OutputFormat.PNG,
}


def output_format(source: Format, ask: Resize) -> OutputFormat:
    """The format of the result: the one asked for, else the source's, else the nearest that can be written."""
    return ask.format or _NEAREST.get(source) or OutputFormat(source.value)


def to_palette(image: Image.Image) -> Image.Image:
    """An RGB, RGBA or L picture as GIF holds it: 256 colours, a pixel either opaque or transparent."""
    if image.mode == "RGBA":
        opaque = image.getchannel("A").point(lambda alpha: 255 if alpha >= 128 else 0)  # noqa: PLR2004  half
        image = image.copy()
        image.putalpha(opaque)
    return image
