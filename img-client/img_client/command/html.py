"""The results of a picture as HTML: a <picture> with what a browser can choose from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from img_client.command.ending import Ending, Made

_WIDELY_SHOWN: Final[tuple[str, ...]] = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif")
"""What browsers show, the most of them first: that is for <img>, and the newest is the first <source>."""


def shown(ending: Ending) -> bool:
    """Return whether browsers show any of a file's results."""
    return any(one.media_type in _WIDELY_SHOWN for one in ending.outputs)


def picture(ending: Ending, folder: Path) -> str:
    """Return the <picture> of a file's results; their addresses are relative to a folder."""
    whole = [one for one in ending.outputs if _same_shape(one, ending.outputs[0])]
    found = {one.media_type for one in whole}
    fallback, *others = [kind for kind in _WIDELY_SHOWN if kind in found] or sorted(found)
    lines = [f'  <source type="{escape(kind)}" srcset="{_srcset(whole, kind, folder)}">' for kind in reversed(others)]
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
