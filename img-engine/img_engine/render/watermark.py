"""The watermark's pixels: a picture of its own, which goes through the pipeline before the upload does."""

from __future__ import annotations

import math

from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from img_contract.regular_file import open_regular
from PIL import Image

from img_engine.render.picture import Upload
from img_engine.render.picture_faults import PictureRefused, picture_faults
from img_engine.render.pipeline import load, process
from img_engine.render.reading.opening import open_picture
from img_engine.render.task import Watermark


def read_watermark(watermark: Watermark, upload: Upload) -> Image.Image:
    """Return its first frame: RGBA in sRGB, upright, no larger than the upload's results need it.

    Raises PictureRefused with words that name the watermark; FileNotFoundError if it is not there as a regular file.
    """
    width, height = (
        math.ceil(max(result.sizes.canvas[axis] * result.options.watermark_scale for result in upload.results))
        for axis in (0, 1)
    )
    still = Resize(width=width, height=height, format=Format.TIFF)  # which has alpha, and does not move
    try:
        with open_regular(watermark.source) as file:
            picture = open_picture(file, watermark.format, upload.limits)
            with picture_faults("decoded"):
                (made,) = process(load(picture, still))
                return made.frames[0].convert("RGBA")
    except PictureRefused as refused:
        detail = f"the watermark: {refused.failure.detail}"
        refused.failure = refused.failure.model_copy(update={"detail": detail})
        raise
