"""The results of a picture as HTML: a <picture> with what a browser can choose from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from img_client.command.ending import Ending, Made

_FALLBACK: Final = ("image/jpeg", "image/png", "image/gif")
"""What every browser shows: a source of another type is beside an <img> of one of these, if there is one."""

_NEWEST_FIRST: Final = ("image/avif", "image/webp")


def picture(ending: Ending, folder: Path) -> str:
    """Return the <picture> of a file's results; their addresses are relative to a folder."""
    whole = [one for one in ending.outputs if _same_shape(one, ending.outputs[0])]
    kinds = sorted({one.media_type for one in whole}, key=lambda kind: (*_NEWEST_FIRST, *_FALLBACK, kind).index(kind))
    fallback = next((kind for kind in _FALLBACK if kind in kinds), kinds[-1])
    lines = [
        f'  <source type="{escape(kind)}" srcset="{_srcset(whole, kind, folder)}">'
        for kind in kinds
        if kind != fallback
    ]
    largest = max((one for one in whole if one.media_type == fallback), key=lambda one: one.width)
    lines.append(
        f'  <img src="{_address(largest, folder)}" srcset="{_srcset(whole, fallback, folder)}" '
        f'width="{largest.width}" height="{largest.height}" alt="">'
    )
    return "\n".join(["<picture>", *lines, "</picture>"])


def _srcset(outputs: Sequence[Made], kind: str, folder: Path) -> str:
    by_width = {one.width: one for one in reversed(outputs) if one.media_type == kind}
    return ", ".join(f"{_address(one, folder)} {width}w" for width, one in sorted(by_width.items()))


def _address(made: Made, folder: Path) -> str:
    return escape(quote(os.fsencode(Path(made.path or "").relative_to(folder).as_posix())))


def _same_shape(one: Made, other: Made) -> bool:
    """Return whether two sizes can be one picture scaled, when each side is off by its rounding at most."""
    return (
        abs(one.width * other.height - other.width * one.height)
        <= (one.width + other.width + one.height + other.height) / 2
    )
