"""Bounds on what a picture may have, and the refusal of a file that exceeds one."""

from __future__ import annotations

from typing import Final

from img_contract.job.outcome import FailureCode

from img_engine.render.picture_faults import PictureRefused
from img_engine.render.task import PictureLimits

_MEGA: Final = 1_000_000


def at_most(most: int, found: int, what: str, code: FailureCode = FailureCode.PICTURE_CORRUPT) -> None:
    """Raise PictureRefused if more was found; the file may hold even more, as it need not be read further."""
    if found > most:
        raise PictureRefused(code, f"expected at most {most} {what}, found {found} or more", limit=most, actual=found)


def check_pixels(
    size: tuple[int, int], limits: PictureLimits, what: str, code: FailureCode = FailureCode.TOO_MANY_PIXELS
) -> None:
    """Raise PictureRefused with that code for more pixels than allowed."""
    pixels = size[0] * size[1]
    if pixels > limits.pixels:
        raise PictureRefused(
            code,
            f"expected at most {limits.pixels / _MEGA:g} megapixels, found {what} of {size[0]} × {size[1]}, "
            f"{pixels / _MEGA:.1f} megapixels",
            limit=limits.pixels,
            actual=pixels,
        )
