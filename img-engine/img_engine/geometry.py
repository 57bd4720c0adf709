"""From the size of a picture and what was asked to the size of the result: integers in, integers out, no pixels.

Scaled sides are rounded half up and never 0. Where two sides are given, the side that limits is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from img_contract.job import Fit, Gravity, Resize

Size = tuple[int, int]
"""Width, height in pixels."""

# Where a box lies in a larger one: 0 at the start, 1 in the middle, 2 at the end, across and down.
_PLACES: dict[Gravity, tuple[int, int]] = {
    Gravity.NORTHWEST: (0, 0),
    Gravity.NORTH: (1, 0),
    Gravity.NORTHEAST: (2, 0),
    Gravity.WEST: (0, 1),
    Gravity.CENTER: (1, 1),
    Gravity.EAST: (2, 1),
    Gravity.SOUTHWEST: (0, 2),
    Gravity.SOUTH: (1, 2),
    Gravity.SOUTHEAST: (2, 2),
}


@dataclass(frozen=True)
class Plan:
    """What to do: scale the whole picture to `scaled`, then cut or pad it to `canvas`."""

    scaled: Size
    canvas: Size


def plan(picture: Size, ask: Resize) -> Plan:
    """The sizes that follow from the rules of `fit` and `enlarge` for an upright picture of this size, in pixels."""
    width, height = picture
    if ask.width is None or ask.height is None:
        scaled = _follow_one_side(picture, ask)
        return Plan(scaled, scaled)
    box = (ask.width, ask.height)
    match ask.fit:
        case Fit.INSIDE | Fit.OUTSIDE:
            scaled = _scale_to(picture, box, covering=ask.fit is Fit.OUTSIDE, enlarge=ask.enlarge)
            return Plan(scaled, scaled)
        case Fit.CONTAIN:
            return Plan(_scale_to(picture, box, covering=False, enlarge=ask.enlarge), box)
        case Fit.COVER:
            if not ask.enlarge and (box[0] > width or box[1] > height):
                box = _scale_to(box, picture, covering=False, enlarge=False)  # the largest cut of the shape asked
            return Plan(_scale_to(picture, box, covering=True, enlarge=ask.enlarge), box)
        case Fit.FILL:
            if not ask.enlarge:
                box = (min(box[0], width), min(box[1], height))
            return Plan(box, box)


def offset(inner: Size, outer: Size, gravity: Gravity) -> tuple[int, int]:
    """Where the smaller box lies in the larger one: pixels from its left and its top. An odd pixel goes to the end."""
    across, down = _PLACES[gravity]
    return (outer[0] - inner[0]) * across // 2, (outer[1] - inner[1]) * down // 2


def _follow_one_side(picture: Size, ask: Resize) -> Size:
    width, height = picture
    if ask.width is not None:
        to = ask.width if ask.enlarge else min(ask.width, width)
        return to, _scaled(height, to, width)
    if ask.height is None:
        raise ValueError("a resize has a width or a height")
    to = ask.height if ask.enlarge else min(ask.height, height)
    return _scaled(width, to, height), to


def _scale_to(picture: Size, box: Size, *, covering: bool, enlarge: bool) -> Size:
    """Scale to touch the box from within, or to cover it; only ever down unless `enlarge`."""
    (width, height), (box_width, box_height) = picture, box
    width_decides = (box_width * height <= box_height * width) != covering
    if width_decides:
        to = box_width if enlarge else min(box_width, width)
        return to, _scaled(height, to, width)
    to = box_height if enlarge else min(box_height, height)
    return _scaled(width, to, height), to


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """Side × numerator ÷ denominator, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))
