"""The picture formats that the service knows by name, and how each is detected by its first bytes.

What Pillow calls them and how they are written is the engine's business (`img_engine.formats`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """A picture format that can be accepted."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    AVIF = "avif"
    HEIC = "heic"
    TIFF = "tiff"
    BMP = "bmp"
    ICO = "ico"


WRITABLE: Final = (Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.AVIF, Format.TIFF)
"""The formats that can be written."""

AUTO: Final = "auto"
"""In place of a format: the engine picks one."""

RESULT_FORMATS: Final = (*WRITABLE, AUTO)
"""Values of the parameter `format`."""

MEDIA_TYPES: Final[dict[Format, str]] = {
    Format.JPEG: "image/jpeg",
    Format.PNG: "image/png",
    Format.WEBP: "image/webp",
    Format.GIF: "image/gif",
    Format.AVIF: "image/avif",
    Format.HEIC: "image/heic",
    Format.TIFF: "image/tiff",
    Format.BMP: "image/bmp",
    Format.ICO: "image/vnd.microsoft.icon",
}

SUFFIXES: Final[dict[Format, str]] = {
    Format.JPEG: "jpg",
    Format.PNG: "png",
    Format.WEBP: "webp",
    Format.GIF: "gif",
    Format.AVIF: "avif",
    Format.TIFF: "tif",
}
"""Suffixes of file names."""

_BY_SUFFIX: Final = {suffix: str(name) for name, suffix in SUFFIXES.items()}

SIGNATURE_BYTES: Final = 32
"""Number of first bytes that `sniff` needs."""

# An ISO base media file (ISO/IEC 14496-12) starts with an `ftyp` box: length, "ftyp", major brand, minor version,
# compatible brands. AVIF is tried before HEIC, since both may carry the generic brand mif1. A TIFF's `+` is BigTIFF. An
# icon's directory: reserved 0, type 1, count, then entries whose fourth byte is reserved, too.
_SIGNATURES: Final[tuple[tuple[Format, re.Pattern[bytes]], ...]] = (
    (Format.JPEG, re.compile(rb"\xff\xd8\xff")),
    (Format.PNG, re.compile(rb"\x89PNG\r\n\x1a\n")),
    (Format.GIF, re.compile(rb"GIF8[79]a")),
    (Format.WEBP, re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    (Format.AVIF, re.compile(rb".{4}ftyp(?:avif|avis|(?:mif1|msf1|miaf).{4}(?:.{4}){0,3}avi[fs])", re.DOTALL)),
    (Format.HEIC, re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)),
    (Format.TIFF, re.compile(rb"II[*+]\0|MM\0[*+]")),
    (Format.ICO, re.compile(rb"\x00\x00\x01\x00[^\0]\x00.{3}\0", re.DOTALL)),
    (Format.BMP, re.compile(rb"BM.{4}.{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
)


def format_name(text: str) -> str:
    """The name of a format that may be written as a file's suffix (jpg, tif), in any case; other text in lower case."""
    name = text.lower()
    return _BY_SUFFIX.get(name, name)


def sniff(head: bytes) -> Format | None:
    """Tell a picture's format by its first `SIGNATURE_BYTES` bytes; None if it is none that we know."""
    return next((name for name, signature in _SIGNATURES if signature.match(head)), None)
