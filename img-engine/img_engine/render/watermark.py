"""The watermark: a second upload, read as small as the results need it."""

from __future__ import annotations

import math
from pathlib import Path

from img_contract.job.formats import Format
from img_contract.job.outcome import Failure
from img_contract.job.resize import Resize
from img_contract.regular_file import open_upload
from PIL import Image

from img_engine.errors import PictureRefused
from img_engine.render.picture import Upload
from img_engine.render.pipeline import load, process
from img_engine.render.reading.opening import open_picture, picture_faults


def read_stamp(path: Path, kind: Format, upload: Upload) -> Image.Image:
    """RGBA in sRGB, upright, no larger than the largest result needs it. Raises PictureRefused with words for it.

    Raises FileNotFoundError if it is not there as a regular file.
    """
    needed = [
        math.ceil(max(result.plan.canvas[axis] * result.ask.watermark_scale for result in upload.results))
        for axis in (0, 1)
    ]
    ask = Resize(width=needed[0], height=needed[1], format=Format.TIFF)  # which has alpha, and does not move
    try:
        with open_upload(path) as file:
            mark = open_picture(file, kind, upload.limits)
            with picture_faults("decoded"):
                return process(load(mark, ask))[0].frames[0].convert("RGBA")
    except PictureRefused as refused:
        failure = refused.failure
        refused.failure = Failure(
            code=failure.code, detail=f"the watermark: {failure.detail}", limit=failure.limit, actual=failure.actual
        )
        raise
