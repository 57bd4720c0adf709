"""The shortest way from JPEG to JPEG: the stored planes are scaled as they are, never converted to RGB.

It is less work than the pipeline for the same picture: the colours, which are stored in a quarter of the samples, are
neither enlarged, nor converted, nor shrunk again. It scales and turns. What else it may be asked for is in
`_TAKES`; a parameter that is not there leads to the pipeline, and so does every upload that is not the usual kind.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any, Final

import numpy as np
from img_contract.job.choices import Profile, Subsampling
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.facts import SAMPLE_SIDE
from img_engine.render.icc import is_srgb
from img_engine.render.jpeg_planes.turbojpeg import Planes, TurboJpeg, turbojpeg
from img_engine.render.orientation import TRANSPOSES, UPRIGHT, as_seen
from img_engine.render.picture import ResultPlan, Upload
from img_engine.render.steps.planning import shrink_factor
from img_engine.render.steps.scaling import resample
from img_engine.render.writing.encoding import EncodedFile, encoded_file


class _AnyValue:
    def __contains__(self, value: object) -> bool:
        return True


_ANY: Final = _AnyValue()

_TAKES: Final[dict[str, Container[Any]]] = {
    # Sizes and the upload's region, which `_suits` and `_suits_result` judge once they are planned.
    **dict.fromkeys(("width", "height", "fit", "gravity", "enlarge", "dpr", "variants", "crop", "trim"), _ANY),
    # Turns are made here, too.
    **dict.fromkeys(("rotate", "flip", "flop"), _ANY),
    # How the file is written. The format is judged once it is planned.
    **dict.fromkeys(("format", "quality", "progressive"), _ANY),
    "subsampling": (None, Subsampling.QUARTER),
    "profile": (Profile.SRGB, Profile.KEEP),  # `_suits_result` says no to one that is there and to be kept
    # These have no effect on a JPEG of an opaque upload without a watermark.
    **dict.fromkeys(("background", "lossless", "palette"), _ANY),
    **dict.fromkeys(("watermark_gravity", "watermark_scale", "watermark_opacity"), _ANY),
}
"""The parameters that this way honours, or that change nothing here, each with the values that may be asked for."""


def takes(options: Resize) -> bool:
    """Return whether every parameter is at its default, or has a value that this way honours."""
    fields = Resize.model_fields.items()
    return all(getattr(options, name) in _TAKES.get(name, (field.default,)) for name, field in fields)


def render_planes(upload: Upload, least_pixels: int) -> tuple[Image.Image, list[EncodedFile]] | None:
    """Make every result of an upload that was loaded, with a small RGB picture of the first; None if unsuited."""
    library, by = turbojpeg(), shrink_factor(upload)
    if library is None or not _suits(upload) or math.prod(upload.stored) < least_pixels * by**2:
        return None
    upload.file.seek(0)
    planes = library.read(upload.file.read(), by)
    if planes is None:
        return None
    scaled = [_scaled(planes, plan.sizes.scaled, upload, by) for plan in upload.results]
    encoded = [_encoded(plan, its_planes, library) for plan, its_planes in zip(upload.results, scaled, strict=True)]
    small = [plane.resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.BOX) for plane in scaled[0].images]
    return Image.merge("YCbCr", small).convert("RGB"), encoded


def _suits(upload: Upload) -> bool:
    return (
        upload.format is Format.JPEG
        and upload.image.mode == "RGB"
        and upload.region == (0, 0, *upload.stored)
        and (upload.profile is None or is_srgb(upload.profile))
        and all(_suits_result(plan, upload) for plan in upload.results)
    )


def _suits_result(plan: ResultPlan, upload: Upload) -> bool:
    sizes = plan.sizes
    # An odd side has half a colour sample too many at its end, which mirroring would move to its beginning.
    turns_well = upload.orientation == UPRIGHT or not any(side % 2 for side in sizes.scaled)
    return (
        plan.encoder.format is Format.JPEG
        and sizes.scaled == sizes.canvas
        and turns_well
        and not (upload.profile and plan.options.profile is Profile.KEEP)
        and takes(plan.options)
    )


def _scaled(planes: Planes, size: tuple[int, int], upload: Upload, by: int) -> Planes:
    """Scale the planes to a size (upright, in luma samples) in 4:2:0, and turn them upright."""
    width, height = as_seen(size, upload.orientation)
    colours = (-(-width // 2), -(-height // 2))
    operation = TRANSPOSES.get(upload.orientation)
    made = []
    for number, plane in enumerate(planes.images):
        covers = planes.covers if number else (1, 1)
        to = colours if number else (width, height)
        # The part of the plane that is picture, in fractions of a sample. The colours of an odd side reach half a
        # pixel further.
        beyond = (2 * colours[0] / width, 2 * colours[1] / height) if number else (1.0, 1.0)
        box = tuple(stored / by / over * more for stored, over, more in zip(upload.stored, covers, beyond, strict=True))
        scaled = resample(_extended(plane, box), to, (0.0, 0.0, box[0], box[1]))
        made.append(scaled.transpose(operation) if operation is not None else scaled)
    return Planes((made[0], made[1], made[2]), (2, 2))


def _encoded(plan: ResultPlan, planes: Planes, library: TurboJpeg) -> EncodedFile:
    size, quality = plan.sizes.scaled, plan.options.quality or plan.encoder.quality or 0
    return encoded_file(plan, size, library.write(planes, size, quality, progressive=plan.options.progressive))


def _extended(plane: Image.Image, size: tuple[float, ...]) -> Image.Image:
    """Repeat the last row and column of a plane until it has at least that size."""
    columns, rows = (max(0, math.ceil(wanted) - own) for own, wanted in zip(plane.size, size, strict=True))
    if not columns and not rows:
        return plane
    return Image.fromarray(np.pad(np.asarray(plane), ((0, rows), (0, columns)), mode="edge"))
