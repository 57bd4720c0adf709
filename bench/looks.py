"""Looks at the results that were kept: sizes must agree; fidelity is computed where the tools for it are there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from contenders import EXTRA_PYTHON, HERE, extra_has
from one_core import Figures, Table
from PIL import Image
from rows import Row

Size = tuple[int, int, int]
"""Width and height in pixels, and frames."""


class SizesDifferError(Exception):
    """Two contenders made pictures of different sizes: their times cannot be compared."""


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


def add_fidelity(table: Table, rows: Sequence[Row], pictures: Path) -> bool:
    """Put SSIM and ΔE2000 into the table. False if the tools are not installed."""
    if not extra_has("skimage"):
        return False
    asked: list[dict[str, object]] = []
    about: list[Figures] = []
    for row in rows:
        for figures in table[row.name].values():
            if figures.files and figures.failed is None:
                about.append(figures)
                asked.append({"picture": str(pictures / row.picture), "files": figures.files})
    told = subprocess.run(
        [EXTRA_PYTHON, HERE / "fidelity.py"], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    for figures, answer in zip(about, json.loads(told), strict=True):
        figures.ssim, figures.delta_e = answer.get("ssim"), answer.get("delta_e")
    return True
