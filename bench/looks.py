"""Looks at the results that were kept: sizes must agree; fidelity is computed where the tools for it are there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from contenders import EXTRA_PYTHON, HERE, extra_has
from one_core import Table
from PIL import Image
from rows import Row

Size = tuple[int, int, int]
"""Width and height in pixels, and frames."""


class Seen(Protocol):
    """Figures whose results were kept."""

    files: list[str]
    ssim: float | None
    delta_e: float | None


class SizesDifferError(Exception):
    """Contenders make pictures of different sizes: their times cannot be compared."""


def check_sizes(table: Table) -> None:
    """Every contender's results must have the same pixels. Raises SizesDifferError.

    Fewer frames are a thing that a contender cannot do yet: its row is taken out, with that reason.
    """
    for name, of_row in table.items():
        sizes = {contender: [_size(path) for path in figures.files] for contender, figures in of_row.items()}
        found = {contender: size for contender, size in sizes.items() if size}
        if not found:
            continue
        most = max(size[0][2] for size in found.values())
        for contender, size in found.items():
            if size[0][2] < most:
                of_row[contender].failed = f"it writes {size[0][2]} of {most} frames"
        if len({tuple(each[:2] for each in size) for size in found.values()}) > 1:
            raise SizesDifferError(f"{name}: {found}")


def _size(path: str) -> Size:
    with Image.open(path) as image:
        return image.width, image.height, getattr(image, "n_frames", 1)


def kept(server: str, row: Row, work: Path, results: Sequence[bytes]) -> list[str]:
    """Write a server's results, one a width, and return their paths.

    Raises SizesDifferError if one has not the row's width and, to a pixel, the height that follows, and OSError if it
    is no JPEG that can be decoded.
    """
    width, height, _ = _size(str(work / "pictures" / row.picture))
    paths = []
    for wanted, data in zip(row.widths, results, strict=True):
        path = work / "results" / f"{server}-{row.name}-{wanted}.jpg"
        path.write_bytes(data)
        with Image.open(path, formats=["JPEG"]) as image:
            image.load()
            if image.width != wanted or abs(image.height - wanted * height / width) > 1:
                raise SizesDifferError(f"expected {wanted} pixels of width, found {image.width}×{image.height}")
        paths.append(str(path))
    return paths


def add_fidelity(results: Sequence[tuple[Path, Seen]]) -> bool:
    """Compare results with the picture that they were made from. False if the tools are not installed."""
    if not extra_has("skimage"):
        return False
    asked = [{"picture": str(picture), "files": seen.files} for picture, seen in results]
    told = subprocess.run(
        [EXTRA_PYTHON, HERE / "fidelity.py"], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    for (_, seen), answer in zip(results, json.loads(told), strict=True):
        seen.ssim, seen.delta_e = answer.get("ssim"), answer.get("delta_e")
    return True
