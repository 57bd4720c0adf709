"""Resampling and turning."""

from __future__ import annotations

from typing import Final

from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
from img_contract.job import Resize
from PIL import Image

from img_engine.picture import Picture

_LANCZOS: Final = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.lanczos3))
_RESIZER: Final = Resizer()

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of that EXIF orientation upright (EXIF 2.32, tag 0x0112)."""


def scale(picture: Picture, _: Resize) -> Picture:
    """Resample with Lanczos, alpha premultiplied, to the planned size. L, RGB, RGBA or CMYK in, the same out."""
    width, height = picture.plan.scaled
    size = (height, width) if picture.sideways else (width, height)
    if picture.image.size == size:
        return picture
    scaled = Image.new(picture.image.mode, size)
    _RESIZER.resize_pil(picture.image, scaled, _LANCZOS)
    return picture.having(scaled)


def turn_upright(picture: Picture, _: Resize) -> Picture:
    """Apply the EXIF orientation; the tag itself is not written to the result."""
    turn = _TURNS.get(picture.orientation)
    return picture if turn is None else picture.having(picture.image.transpose(turn))
