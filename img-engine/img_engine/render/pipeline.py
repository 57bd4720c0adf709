"""The algorithm, in three stages: LOADING once for an upload, then `scale` and STEPS for every frame of every result.

A step returns what it was given when it has nothing to do. CONTRIBUTING.md has what a new transformation needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.picture import Picture, Region, Upload
from img_engine.render.reading.decoding import frames
from img_engine.render.rendered_frames import RenderedFrames
from img_engine.render.steps.colour import convert_colours
from img_engine.render.steps.filters import blur, grayscale, sharpen, watermark
from img_engine.render.steps.framing import crop, flatten, pad
from img_engine.render.steps.planning import check_memory, plan_results, shrink_on_load
from img_engine.render.steps.scaling import scale, turn_upright
from img_engine.render.steps.selecting import crop_source, trim, turn

LOADING: Final[tuple[Callable[[Upload, Resize], Upload], ...]] = (
    turn,
    crop_source,
    trim,  # the only one that always needs pixels
    plan_results,
    shrink_on_load,  # a JPEG is never decoded larger than necessary
    check_memory,  # before a pixel is decoded
)
"""Applied once to an upload."""

STEPS: Final[tuple[Callable[[Picture, Resize], Picture], ...]] = (
    turn_upright,  # after scaling: fewer pixels to move
    convert_colours,  # after scaling: fewer pixels to convert
    crop,
    grayscale,
    blur,
    sharpen,
    pad,  # after the filters: a border is neither blurred nor grey
    flatten,
    watermark,
)
"""Applied to each frame of each result after it was scaled."""

_LOSES_NOTHING: Final = 2
"""A result may be scaled from another that is at least so many times its size: the second Lanczos is not visible."""


def load(upload: Upload, options: Resize) -> Upload:
    """Plan the results of an upload, and prepare it for decoding. Raises PictureRefused."""
    for step in LOADING:
        upload = step(upload, options)
    return upload


def process(upload: Upload, mark: Image.Image | None = None) -> list[RenderedFrames]:
    """Make every result of an upload that was loaded. Errors of decoders pass through.

    `mark` is the watermark, RGBA in sRGB.
    """
    results = [RenderedFrames(plan) for plan in upload.results]
    largest_first = sorted(results, key=lambda one: one.plan.sizes.scaled, reverse=True)
    for frame in frames(upload, all_of_them=any(plan.keeps_frames for plan in upload.results)):
        wanted = [one for one in largest_first if one.first is None or one.plan.keeps_frames]
        for one, scaled in zip(wanted, _scaled(frame.image, wanted, upload), strict=True):
            picture = replace(scaled, watermark=mark)
            for step in STEPS:
                picture = step(picture, one.plan.options)
            one.add(picture, frame.milliseconds)
    for one in results:
        if one.plan.keeps_frames and len(one.frames) < upload.facts.frames:
            one.warn_of_damage(upload.facts.frames)
    return results


def _scaled(frame: Image.Image, wanted: list[RenderedFrames], upload: Upload) -> Iterator[Picture]:
    """Scale a frame for each wanted result, largest first, each from the smallest picture that loses nothing."""
    sources = [(frame, _region(upload, frame.size))]
    for one in wanted:
        plan = one.plan
        width, height = (_LOSES_NOTHING * side for side in plan.stored_size(upload.orientation))
        image, region = next(
            (source for source in reversed(sources) if source[0].width >= width and source[0].height >= height),
            sources[0],
        )
        picture = Picture(
            image=image,
            region=region,
            sizes=plan.sizes,
            encoder=plan.encoder,
            profile=upload.profile,
            hdr=upload.hdr,
            orientation=upload.orientation,
            cut=one.first.cut if one.first else None,
        )
        picture = scale(picture, plan.options)
        sources.append((picture.image, picture.region))
        yield picture


def _region(upload: Upload, decoded: tuple[int, int]) -> Region:
    """Return the region in pixels of a picture that may be decoded smaller than it is stored (JPEG: 1/2, 1/4, 1/8).

    The result has fractions: a side of 2725 decoded at 1/2 has 1363 pixels, of which 1362.5 are picture.
    """
    by = next(by for by in (1, 2, 4, 8) if tuple(-(-side // by) for side in upload.stored) == decoded)
    left, top, right, bottom = (side / by for side in upload.region)
    return left, top, min(right, decoded[0]), min(bottom, decoded[1])
