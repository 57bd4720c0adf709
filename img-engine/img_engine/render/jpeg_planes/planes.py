"""The shortest way from JPEG to JPEG: the stored planes are scaled as they are, never turned into RGB.

Less work than the pipeline's for the same picture: colours, of which there are a quarter, are neither enlarged, nor
converted, nor shrunk again. It does what is asked for most, scaling and turning; what needs to see colours goes
through the pipeline, and so does every picture that is not the usual kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from img_contract.job.choices import Metadata, Profile, Subsampling
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.jpeg_planes.turbojpeg import Planes, turbojpeg
from img_engine.render.orientation import TRANSPOSES, UPRIGHT, as_seen
from img_engine.render.picture import Result, Upload
from img_engine.render.steps.colour import is_srgb
from img_engine.render.steps.planning import shrink_factor
from img_engine.render.steps.scaling import resample

_WORTH_IT: Final = 1_000_000
"""Pixels that are decoded; below it, this way takes as long as the other."""


@dataclass(frozen=True)
class PlanarResult:
    """A finished JPEG, and its planes for whoever wants to know what it looks like."""

    result: Result
    data: bytes
    planes: Planes

    def look(self, size: tuple[int, int]) -> Image.Image:
        """The result in RGB, at that size."""
        return Image.merge("YCbCr", [plane.resize(size, Image.Resampling.BOX) for plane in self.planes.images]).convert(
            "RGB"
        )


def render_planes(upload: Upload) -> list[PlanarResult] | None:
    """Every result of an upload that was loaded; None if this is not the way for it."""
    library, by = turbojpeg(), shrink_factor(upload)
    if library is None or not _suits(upload) or math.prod(upload.stored) < _WORTH_IT * by**2:
        return None
    upload.file.seek(0)
    planes = library.read(upload.file.read(), by)
    if planes is None:
        return None
    finished = []
    for result in upload.results:
        scaled = _scaled(planes, result.plan.scaled, upload, by)
        quality = result.ask.quality or result.encoder.quality or 0
        data = library.write(scaled, result.plan.scaled, quality, progressive=result.ask.progressive)
        finished.append(PlanarResult(result, data, scaled))
    return finished


def _suits(upload: Upload) -> bool:
    return (
        upload.format is Format.JPEG
        and upload.image.mode == "RGB"
        and upload.region == (0, 0, *upload.stored)
        and (upload.profile is None or is_srgb(upload.profile))
        and all(_asks_for_no_more(result, upload.orientation, upload.profile) for result in upload.results)
    )


def _asks_for_no_more(result: Result, orientation: int, profile: bytes | None) -> bool:
    ask, plan = result.ask, result.plan
    # A picture whose side is odd has half a colour sample too many at its end; mirrored, that would be its beginning.
    turns_well = orientation == UPRIGHT or not any(side % 2 for side in plan.scaled)
    return (
        result.encoder.format is Format.JPEG
        and plan.scaled == plan.canvas
        and turns_well
        and not (profile and ask.profile is Profile.KEEP)
        and ask.subsampling in (None, Subsampling.QUARTER)
        and ask.metadata is Metadata.STRIP
        and not _changes_the_look(ask)
    )


def _changes_the_look(ask: Resize) -> bool:
    return ask.grayscale or any(
        value is not None for value in (ask.blur, ask.sharpen, ask.effort, ask.max_bytes, ask.placeholder)
    )


def _scaled(planes: Planes, size: tuple[int, int], upload: Upload, by: int) -> Planes:
    """The planes at that size (upright, in luma samples), in 4:2:0, turned upright."""
    width, height = as_seen(size, upload.orientation)
    colours = (-(-width // 2), -(-height // 2))
    operation = TRANSPOSES.get(upload.orientation)
    made = []
    for number, plane in enumerate(planes.images):
        covers = planes.covers if number else (1, 1)
        to = colours if number else (width, height)
        # What of the plane is picture, to a fraction of a sample; and the colours of an odd side reach half a pixel
        # beyond it.
        beyond = (2 * colours[0] / width, 2 * colours[1] / height) if number else (1.0, 1.0)
        box = tuple(stored / by / over * more for stored, over, more in zip(upload.stored, covers, beyond, strict=True))
        scaled = resample(_reaching(plane, box), to, (0.0, 0.0, box[0], box[1]))
        made.append(scaled.transpose(operation) if operation is not None else scaled)
    return Planes((made[0], made[1], made[2]), (2, 2))


def _reaching(plane: Image.Image, size: tuple[float, ...]) -> Image.Image:
    """The plane, its last row and column repeated as far as the size reaches."""
    columns, rows = (max(0, math.ceil(wanted) - own) for own, wanted in zip(plane.size, size, strict=True))
    if not columns and not rows:
        return plane
    return Image.fromarray(np.pad(np.asarray(plane), ((0, rows), (0, columns)), mode="edge"))
