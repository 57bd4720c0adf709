"""Resampling and turning."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.orientation import TRANSPOSES, UPRIGHT
from img_engine.render.picture import Picture, Region

_LANCZOS: Final = ResizeAlg.convolution(FilterType.lanczos3)
_RESIZER: Final = Resizer()
"""One for all usual pictures of a process: it keeps its buffers at the largest size they ever had."""

_USUAL: Final = 4_000_000
"""Pixels. The buffers of a larger picture are not kept: they would take memory from every later one."""


def scale(picture: Picture, _: Resize) -> Picture:
    """Resample the region with Lanczos, alpha premultiplied, to the planned size, in its mode: L, RGB, RGBA or CMYK."""
    size = picture.stored_size
    return replace(picture, image=resample(picture.image, size, picture.region), region=(0, 0, *size))


def resample(image: Image.Image, size: tuple[int, int], region: Region) -> Image.Image:
    """Resample a region of a picture to a size; the picture itself if it is that already."""
    left, top, right, bottom = region
    if int(right - left) == size[0] and int(bottom - top) == size[1] and not any(side % 1 for side in region):
        return image if size == image.size else image.crop((int(left), int(top), int(right), int(bottom)))
    box = CropBox(left, top, right - left, bottom - top)
    scaled = Image.new(image.mode, size)
    resizer = _RESIZER if max(image.width * image.height, image.width * size[1]) <= _USUAL else Resizer()
    resizer.resize_pil(image, scaled, ResizeOptions(resize_alg=_LANCZOS, crop_box=box))
    return scaled


def turn_upright(picture: Picture, _: Resize) -> Picture:
    """Apply the EXIF orientation and the turns of the options; no tag is written to the result."""
    operation = TRANSPOSES.get(picture.orientation)
    if operation is None:
        return picture
    return replace(picture, image=picture.image.transpose(operation), orientation=UPRIGHT)
