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
"""Which of Pillow's plugins may open an upload whose first bytes say this format: an allow-list."""


@dataclass(frozen=True)
class Encoder:
    """How a format is written. Limits are the format's own."""

    format: Format
    pillow: str
    modes: tuple[str, ...]
    """Pillow modes it takes, best first; a picture in another mode is converted to the first with what it needs."""
    largest_side: int
    options: Callable[[Resize], dict[str, Any]]
    """What is passed to `Image.save`."""
    quality: int | None = None
    """The quality that is used where none is asked for; None: there is no such thing, it is lossless."""
    animated: bool = False
    bytes_per_pixel: int = 0
    """What its library takes beside the pixels, where that is much."""
    profile: bool = True
    """Whether it can hold an ICC profile."""
    used: frozenset[str] = frozenset()
    """Which parameters that not every format knows have an effect on it."""

    @property
    def media_type(self) -> str:
        """The media type of what it writes."""
        return MEDIA_TYPES[self.format]

    @property
    def alpha(self) -> bool:
        """Whether it holds an alpha channel (GIF: one fully transparent colour)."""
        return "RGBA" in self.modes


_BY_FORMAT: Final = ("quality", "lossless", "progressive", "effort", "subsampling", "palette")
"""Parameters of which no format knows all."""


def unused(encoder: Encoder, ask: Resize, *, moving: bool) -> list[str]:
    """Which of the given parameters have no effect on the format."""
    known = encoder.used - {"palette"} if moving else encoder.used
    # What asks for no loss is met by a format that never loses anything.
    given = [name for name in _BY_FORMAT if getattr(ask, name) not in (None, False)]
    return [name for name in given if name not in known and not (name == "lossless" and encoder.quality is None)]


def _jpeg(ask: Resize) -> dict[str, Any]:
    # Optimal Huffman tables save 1 to 2 % of the bytes and cost half as much time again.
    return {
        "optimize": (ask.effort or 0) > _MIDDLE,
        "progressive": ask.progressive,
        "subsampling": ask.subsampling or Subsampling.QUARTER,
    }


def _webp(ask: Resize) -> dict[str, Any]:
    method = 4 if ask.effort is None else round((ask.effort - 1) * 6 / 9)
    return {"method": method, "lossless": ask.lossless}


def _avif(ask: Resize) -> dict[str, Any]:
    options = {
        "codec": "aom",
        "subsampling": ask.subsampling or Subsampling.QUARTER,
        "max_threads": 1,
    }  # one core a child
    if ask.effort is not None:
        return options | {"speed": round(10 - (ask.effort - 1) * 8 / 9)}  # 0 and 1 would take minutes for a photo
    # Without rectangular partitions it takes a sixth less time, for 1 % more bytes.
    return options | {"speed": 6, "advanced": {"enable-rect-partitions": "0"}}


def _tiff(_: Resize) -> dict[str, Any]:
    return {"compression": "tiff_adobe_deflate"}


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
        Encoder(Format.TIFF, "TIFF", ("RGB", "RGBA", "L"), 2**31 - 1, _tiff),
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
    """The source's own format, or the nearest that can be written."""
    return _NEAREST.get(source, source)


def best_format(accept: tuple[Format, ...], *, alpha: bool, animated: bool, lossless: bool) -> Format:
    """What suits a picture, among the formats that the client takes; empty: it did not say.

    Who did not say gets what everything opens: JPEG, or WebP if it is transparent or moves.
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
    # Nothing that the client takes holds all of it: the best of what it takes then, with a warning of what is lost.
    return next(iter(able), next((name for name in _BEST_FIRST if name in taken), Format.PNG))
