"""Arithmetic of sizes: from the size of a picture and the options to the size of the result. No pixels.

Scaled sides are rounded half up and are never 0. Where two sides are given, the limiting one is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from img_contract.job.choices import Fit, Gravity
from img_contract.job.resize import Resize
from img_contract.job.values import side_in_pixels

Size = tuple[int, int]
"""Width, height in pixels."""

# The place of a box within a larger one, across and down: 0 at the start, 1 in the middle, 2 at the end.
_PLACES: dict[str, tuple[int, int]] = {
    "northwest": (0, 0),
    "north": (1, 0),
    "northeast": (2, 0),
    "west": (0, 1),
    "center": (1, 1),
    "east": (2, 1),
    "southwest": (0, 2),
    "south": (1, 2),
    "southeast": (2, 2),
    "smart": (1, 1),  # where nothing is cut there is nothing to choose
}


@dataclass(frozen=True)
class Sizes:
    """The whole picture is scaled to `scaled`, then cut or padded to `canvas`."""

    scaled: Size
    canvas: Size


def plan_sizes(picture: Size, options: Resize) -> Sizes:
    """Apply the rules of `fit`, `enlarge` and `dpr` to an upright picture of this size."""
    width = _side(options.width, picture[0], options.dpr)
    height = _side(options.height, picture[1], options.dpr)
    if width is None or height is None:
        scaled = _follow_one_side(picture, width, height, enlarge=options.enlarge)
        return Sizes(scaled, scaled)
    box = (width, height)
    match options.fit:
        case Fit.INSIDE | Fit.OUTSIDE:
            scaled = _scale_to(picture, box, covering=options.fit is Fit.OUTSIDE, enlarge=options.enlarge)
            return Sizes(scaled, scaled)
        case Fit.CONTAIN:
            return Sizes(_scale_to(picture, box, covering=False, enlarge=options.enlarge), box)
        case Fit.COVER:
            if not options.enlarge and (box[0] > picture[0] or box[1] > picture[1]):
                box = _scale_to(box, picture, covering=False, enlarge=False)  # the largest cut of the shape asked
            return Sizes(_scale_to(picture, box, covering=True, enlarge=options.enlarge), box)
        case Fit.FILL:
            if not options.enlarge:
                box = (min(box[0], picture[0]), min(box[1], picture[1]))
            return Sizes(box, box)


def offset(inner: Size, outer: Size, gravity: Gravity) -> tuple[int, int]:
    """Return where the smaller box lies in the larger one: pixels from left and top. An odd pixel goes to the end."""
    across, down = _PLACES[gravity]
    return (outer[0] - inner[0]) * across // 2, (outer[1] - inner[1]) * down // 2


def inside(picture: Size, box: Size) -> Size:
    """Scale a size, up or down, to the largest that fits within the box."""
    return _scale_to(picture, box, covering=False, enlarge=True)


def _side(side: int | str | None, own: int, dpr: float) -> int | None:
    """Return a side in whole pixels, rounded half up, at least 1."""
    if side is None:
        return None
    if isinstance(side, int) and dpr == 1:
        return side
    exact = side_in_pixels(side, own) * Fraction(repr(dpr))
    return max(1, int(exact + Fraction(1, 2)))


def _follow_one_side(picture: Size, width: int | None, height: int | None, *, enlarge: bool) -> Size:
    if width is not None:
        to = width if enlarge else min(width, picture[0])
        return to, _scaled(picture[1], to, picture[0])
    if height is None:
        raise ValueError("a resize has a width or a height")
    to = height if enlarge else min(height, picture[1])
    return _scaled(picture[0], to, picture[1]), to


def _scale_to(picture: Size, box: Size, *, covering: bool, enlarge: bool) -> Size:
    """Scale to touch the box from within, or to cover it; up only if `enlarge`."""
    (width, height), (box_width, box_height) = picture, box
    width_decides = (box_width * height <= box_height * width) != covering
    if width_decides:
        to = box_width if enlarge else min(box_width, width)
        return to, _scaled(height, to, width)
    to = box_height if enlarge else min(box_height, height)
    return _scaled(width, to, height), to


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """Return side × numerator ÷ denominator, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))
