"""How near results are to the exact one: SSIM and ΔE2000. Runs in the benchmark's own environment.

A JSON list on standard input, of objects with `picture` (a file), `files` (results of one contender, one a width).
A JSON list of `{"sizes": [[width, height, frames], …], "ssim": …, "delta_e": …}` on standard output.

The exact result is the picture decoded in full and resampled with Pillow's Lanczos, alpha premultiplied; pictures with
alpha are compared on mid-grey. SSIM is that of the luma (Rec. 601), 1 for equal pictures. ΔE2000 is the mean over all
pixels, in CIELAB units (D65); 0 for equal ones. Over frames and variants the mean is told.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

_GREY = (128, 128, 128, 255)


def _frames(path: str) -> list[Image.Image]:
    """Every frame, upright, RGB or RGBA."""
    with Image.open(path) as image:
        upright = [ImageOps.exif_transpose(frame) for frame in ImageSequence.Iterator(image)]
        return [frame.convert("RGBA" if frame.has_transparency_data else "RGB") for frame in upright]


@functools.lru_cache(maxsize=1)
def _decoded(picture: str) -> tuple[Image.Image, ...]:
    return tuple(_frames(picture))


@functools.lru_cache(maxsize=4)
def _exact(picture: str, size: tuple[int, int]) -> tuple[tuple[Any, Any], ...]:
    """Luma and CIELAB of the exact result's frames."""
    return tuple(_seen(_resampled(frame, size)) for frame in _decoded(picture))


def _resampled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.mode == "RGBA":
        return image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS)


def _seen(image: Image.Image) -> tuple[Any, Any]:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, _GREY), image).convert("RGB")
    return np.asarray(image.convert("L")), rgb2lab(np.asarray(image))


def compare(picture: str, files: list[str]) -> dict[str, Any]:
    """Sizes and fidelity of one contender's results; without fidelity where the number of frames differs."""
    sizes, ssim, delta_e = [], [], []
    for path in files:
        results = _frames(path)
        sizes.append([*results[0].size, len(results)])
        if len(results) != len(_decoded(picture)):
            return {"sizes": sizes}
        for result, (luma, lab) in zip(results, _exact(picture, results[0].size), strict=True):
            found_luma, found_lab = _seen(result)
            ssim.append(float(structural_similarity(found_luma, luma, data_range=255)))
            delta_e.append(float(deltaE_ciede2000(found_lab, lab).mean()))
    return {"sizes": sizes, "ssim": statistics.fmean(ssim), "delta_e": statistics.fmean(delta_e)}


if __name__ == "__main__":
    json.dump([compare(**asked) for asked in json.load(sys.stdin)], sys.stdout)
