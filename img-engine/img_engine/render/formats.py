"""The formats as Pillow reads and writes them: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from img_contract.job.choices import Subsampling
from img_contract.job.formats import MEDIA_TYPES, Format
from img_contract.job.resize import Resize

DECODERS: Final[dict[Format, tuple[str, ...]]] = {
    Format.JPEG: ("JPEG",),  # Pillow's JPEG plugin hands multi-picture files on to its MPO plugin
    Format.PNG: ("PNG",),
    Format.WEBP: ("WEBP",),
    Format.GIF: ("GIF",),
    Format.AVIF: ("AVIF",),
    Format.HEIC: ("HEIF",),  # pillow-heif
    Format.TIFF: ("TIFF",),
    Format.BMP: ("BMP", "DIB"),
    Format.ICO: ("ICO",),
}
"""The plugins of Pillow that may open an upload whose first bytes are of that format: an allow-list."""


@dataclass(frozen=True)
class Encoder:
    """How a format is written. Limits are the format's own."""

    format: Format
    pillow: str
    modes: tuple[str, ...]
    """Pillow modes it takes, best first; a picture in another mode is converted to the first with what it needs."""
    largest_side: int
    save_options: Callable[[Resize], dict[str, Any]]
    """Returns the arguments of `Image.save`."""
    quality: int | None = None
    """The default quality; None if the format is lossless."""
    animated: bool = False
    bytes_per_pixel: int = 0
    """Memory that its library takes beside the pixels, where that is much."""
    profile: bool = True
    """Whether it can hold an ICC profile."""
    used: frozenset[str] = frozenset()
    """The parameters of `_BY_FORMAT` that have an effect on it."""

    @property
    def media_type(self) -> str:
        """Return the media type of what it writes."""
        return MEDIA_TYPES[self.format]

    @property
    def alpha(self) -> bool:
        """Return whether it holds an alpha channel (GIF: one fully transparent colour)."""
        return "RGBA" in self.modes


_BY_FORMAT: Final = ("quality", "lossless", "progressive", "effort", "subsampling", "palette")
"""Parameters that have an effect on some formats only."""


def unused(encoder: Encoder, options: Resize, *, moving: bool) -> list[str]:
    """Return which of the given parameters have no effect on the format."""
    known = encoder.used - {"palette"} if moving else encoder.used
    # A format that never loses anything meets lossless=true.
    given = [name for name in _BY_FORMAT if getattr(options, name) not in (None, False)]
    return [name for name in given if name not in known and not (name == "lossless" and encoder.quality is None)]


def _jpeg(options: Resize) -> dict[str, Any]:
    # Optimal Huffman tables save 1 to 2 % of the bytes and cost half as much time again.
    return {
        "optimize": (options.effort or 0) > _MIDDLE,
        "progressive": options.progressive,
        "subsampling": options.subsampling or Subsampling.QUARTER,
    }


def _webp(options: Resize) -> dict[str, Any]:
    method = 4 if options.effort is None else round((options.effort - 1) * 6 / 9)
    return {"method": method, "lossless": options.lossless}


def _avif(options: Resize) -> dict[str, Any]:
    subsampling = options.subsampling or Subsampling.QUARTER
    save_options = {"codec": "aom", "subsampling": subsampling, "max_threads": 1}  # one core a child
    if options.effort is not None:
        return save_options | {"speed": round(10 - (options.effort - 1) * 8 / 9)}  # 0 and 1 would take minutes
    # Without rectangular partitions it takes a sixth less time, for 1 % more bytes.
    return save_options | {"speed": 6, "advanced": {"enable-rect-partitions": "0"}}


def _none(_: Resize) -> dict[str, Any]:
    return {}


_MIDDLE: Final = 5

ENCODERS: Final[dict[Format, Encoder]] = {
    encoder.format: encoder
    for encoder in (
        Encoder(
            Format.JPEG,
            "JPEG",
            ("RGB", "L"),
            65_535,
            _jpeg,
            quality=80,
            used=frozenset({"quality", "progressive", "effort", "subsampling"}),
        ),
        Encoder(
            Format.PNG,
            "PNG",
            ("RGB", "RGBA", "L", "LA"),
            2**31 - 1,
            _none,
            animated=True,
            used=frozenset({"effort", "palette"}),
        ),
        Encoder(
            Format.WEBP,
            "WEBP",
            ("RGB", "RGBA"),
            16_383,
            _webp,
            quality=80,
            animated=True,
            used=frozenset({"quality", "lossless", "effort"}),
        ),
        Encoder(Format.GIF, "GIF", ("RGB", "RGBA", "L"), 65_535, _none, animated=True, profile=False),
        Encoder(
            Format.AVIF,
            "AVIF",
            ("RGB", "RGBA"),
            65_536,
            _avif,
            quality=60,
            animated=True,
            bytes_per_pixel=18,  # measured: 24 MP fail under 1 GiB, 20 MP do not
            used=frozenset({"quality", "effort", "subsampling"}),
        ),
        Encoder(Format.TIFF, "TIFF", ("RGB", "RGBA", "L"), 2**31 - 1, lambda _: {"compression": "tiff_adobe_deflate"}),
    )
}
"""Side limits are the formats' own: 16 bits in JPEG and GIF, 14 in WebP, 31 in PNG, 65,536 by libavif's default."""

_NEAREST: Final[dict[Format, Format]] = {
    Format.HEIC: Format.JPEG,
    Format.BMP: Format.PNG,
    Format.ICO: Format.PNG,
}

_BEST_FIRST: Final = (Format.AVIF, Format.WEBP, Format.JPEG, Format.PNG, Format.GIF)


def nearest_format(source: Format) -> Format:
    """Return the source's own format, or the nearest that can be written."""
    return _NEAREST.get(source, source)


def best_format(accept: tuple[Format, ...], *, alpha: bool, animated: bool, lossless: bool) -> Format:
    """Return the best format for a picture among those that the client accepts.

    A client that named none gets what everything opens: JPEG, or WebP if the picture is transparent or moves.
    """
    taken = accept or (Format.JPEG, Format.WEBP)
    able = [
        name
        for name in _BEST_FIRST
        if name in taken
        and (ENCODERS[name].animated or not animated)
        and (ENCODERS[name].alpha or not alpha)
        and (ENCODERS[name].quality is None or "lossless" in ENCODERS[name].used or not lossless)
    ]
    if not accept and Format.JPEG in able:
        return Format.JPEG
    # If no accepted format holds all of it, the best of them is taken, and a warning names what is lost.
    return next(iter(able), next((name for name in _BEST_FIRST if name in taken), Format.PNG))
