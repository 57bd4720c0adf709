"""The algorithm: what is done to a picture, in this order.

A step returns its picture as it is when it has nothing to do.

Adding a transformation is a field on `img_contract.job.Resize`, one step function, and one line in `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from img_contract.job import Resize

from .picture import Picture
from .steps import check_memory, crop, decode, flatten, pad, scale, shrink_on_load, to_srgb, turn_upright

Step = Callable[[Picture, Resize], Picture]

STEPS: Final[tuple[Step, ...]] = (
    shrink_on_load,  # first: a JPEG is never decoded larger than it is needed
    check_memory,  # before a pixel is decoded
    decode,
    scale,
    turn_upright,  # after scaling: fewer pixels to move
    to_srgb,  # after scaling: fewer pixels to convert
    crop,
    pad,
    flatten,
)


def process(picture: Picture, ask: Resize) -> Picture:
    """Take a picture whose header was read through all steps. What a decoder raises passes through."""
    for step in STEPS:
        picture = step(picture, ask)
    return picture
