"""What is measured: one row a task, all made from one photo. Sizes are in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Row:
    """One task: a picture in, a picture (or one of each width) out."""

    name: str
    title: str
    group: str
    """What `--rows` selects by, beside the name."""
    picture: str
    """File name in the folder of pictures; see pictures.py."""
    source: str
    """Format of the upload."""
    widths: tuple[int, ...]
    format: str
    quality: int | None = None

    def told(self, folder: str) -> dict[str, Any]:
        """The row as a worker is told it; `folder` holds the pictures."""
        return {
            "name": self.name,
            "path": f"{folder}/{self.picture}",
            "source": self.source,
            "widths": list(self.widths),
            "format": self.format,
            "quality": self.quality,
        }


_VARIANTS: Final = (320, 640, 1280, 1920)
_SIZES: Final = ", ".join(map(str, _VARIANTS))

ROWS: Final = (
    Row("photo-720", "2725×2225 JPEG → 720", "jpeg", "photo.jpg", "jpeg", (720,), "jpeg", 80),
    Row("12mp-800", "4096×3072 JPEG → 800", "jpeg", "12mp.jpg", "jpeg", (800,), "jpeg", 80),
    Row("12mp-1600", "4096×3072 JPEG → 1600", "jpeg", "12mp.jpg", "jpeg", (1600,), "jpeg", 80),
    Row("12mp-200", "4096×3072 JPEG → 200", "jpeg", "12mp.jpg", "jpeg", (200,), "jpeg", 80),
    Row("24mp-1920", "6000×4000 JPEG → 1920", "jpeg", "24mp.jpg", "jpeg", (1920,), "jpeg", 80),
    Row("small-300", "1280×960 JPEG → 300", "jpeg", "small.jpg", "jpeg", (300,), "jpeg", 80),
    Row("variants", f"4096×3072 JPEG → {_SIZES}", "variants", "12mp.jpg", "jpeg", _VARIANTS, "jpeg", 80),
    Row("png", "2048×1536 PNG with alpha → 720 PNG", "png", "alpha.png", "png", (720,), "png"),
    Row("webp", "4096×3072 JPEG → 800 WebP", "webp", "12mp.jpg", "jpeg", (800,), "webp", 80),
    Row("avif", "4096×3072 JPEG → 800 AVIF", "avif", "12mp.jpg", "jpeg", (800,), "avif", 50),
    Row("gif", "480×360 GIF of 20 frames → 240", "gif", "frames.gif", "gif", (240,), "gif"),
)  # fmt: skip

ALL_CORES: Final = ("photo-720", "12mp-800", "24mp-1920")
"""Rows of the measure on all cores."""

SERVED: Final = (
    ROWS[0],
    Row("photo-variants", f"2725×2225 JPEG → {_SIZES}", "variants", "photo.jpg", "jpeg", _VARIANTS, "jpeg", 80),
    Row("12mp-1280", "4096×3072 JPEG → 1280", "jpeg", "12mp.jpg", "jpeg", (1280,), "jpeg", 80),
)  # fmt: skip
"""Rows of the measure over HTTP: from JPEG to JPEG of quality 80, which every server can do."""


def chosen(words: list[str], rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows whose name or group is one of the words; all without words."""
    return tuple(row for row in rows if not words or row.name in words or row.group in words)
