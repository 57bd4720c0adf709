"""The judge of `compare.py`: what libvips makes of the same pictures, and where the two differ."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pyvips

TOLERANCE: Final = 4.0
"""Mean difference of 255, on mid-grey; filters and decoders differ by one or two."""

AGREED: Final = "agree"


def main(index: Path, folder: Path) -> None:
    """Print the kinds of differences, each with its pictures."""
    told = json.loads(index.read_text())
    kinds: dict[str, list[str]] = defaultdict(list)
    for one in told["pictures"]:
        kind, detail = judged(one, told["width"])
        kinds[kind].append(f"{Path(one['path']).relative_to(folder)}: {detail}")
    for kind, pictures in sorted(kinds.items(), key=lambda item: len(item[1])):
        print(f"{kind}: {len(pictures)}")
        for line in pictures if kind != AGREED else ():
            print(f"    {line}")


def judged(one: dict[str, str], width: int) -> tuple[str, str]:
    """Return the kind of difference, and what it is."""
    try:
        theirs = in_srgb(
            pyvips.Image.thumbnail(one["path"], width, height=10_000_000, size="down", output_profile="srgb")
        )
        theirs = theirs.copy_memory()
    except pyvips.Error as error:
        reason = str(error).strip().splitlines()[-1]
        return (AGREED, "refused by both") if "ours" not in one else ("refused by libvips alone", reason)
    if "ours" not in one:
        return "refused by us alone", one["refused"]
    ours = in_srgb(pyvips.Image.new_from_file(one["ours"]))
    warnings = one["warnings"] or "no warning"
    if (ours.width, ours.height) != (theirs.width, theirs.height):
        return "sizes differ", f"{ours.width} × {ours.height}, libvips {theirs.width} × {theirs.height}; {warnings}"
    if ours.hasalpha() != theirs.hasalpha() and alpha_matters(ours, theirs):
        return "alpha differs", warnings
    difference = (on_grey(ours) - on_grey(theirs)).abs().avg()
    return (AGREED if difference <= TOLERANCE else "colours differ"), f"{difference:.1f}; {warnings}"


def in_srgb(image: Any) -> Any:
    """Return a picture in sRGB of 8 bits."""
    return image.colourspace("srgb").cast("uchar")


def alpha_matters(*images: Any) -> bool:
    """Return whether one of the pictures is transparent anywhere."""
    return any(image.hasalpha() and image[image.bands - 1].min() < 255 for image in images)


def on_grey(image: Any) -> Any:
    """Return a picture without alpha."""
    return image.flatten(background=[128] * 3) if image.hasalpha() else image


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
