"""Render pictures with the example transformation `invert`, in a copy of the tree that has it: inverted.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from img_contract.job.formats import WRITABLE, Format
from img_contract.job.resize import Resize
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, RenderOutcome, Task
from PIL import Image

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)
COLOUR, INVERTED = (200, 40, 90), (55, 215, 165)


def colour_of(source: Path, kind: Format, output: Format, *, invert: bool) -> tuple[int, ...]:
    """The colour in the middle of the result."""
    options = Resize.model_validate({"width": 900, "format": output, "invert": invert})
    result = render(Task(source, kind, options, source.with_suffix(".result"), LIMITS))
    assert isinstance(result, RenderOutcome), result
    with Image.open(result.files[0].path) as image:
        found = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return found


def main(folder: Path) -> None:
    """Print the results that are not as expected."""
    for kind in (Format.JPEG, Format.PNG):
        source = folder / f"source.{kind}"
        Image.new("RGB", (1280, 960), COLOUR).save(source, kind)  # large enough for planes
        for output in WRITABLE:
            for invert, expected in ((True, INVERTED), (False, COLOUR)):
                found = colour_of(source, kind, output, invert=invert)
                if any(abs(one - other) > 8 for one, other in zip(found, expected, strict=True)):
                    print(f"{kind} to {output}, invert={invert}: expected {expected}, found {found}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
