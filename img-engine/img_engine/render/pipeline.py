"""The algorithm: what is done to an upload once, and what is done to every frame for every result, in this order.

A step returns what it was given when it has nothing to do.

Adding a transformation is a field on `img_contract.resize.Resize`, one step function, and one line in a tuple below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from img_contract.job.outcome import ResultWarning, WarningCode
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.orientation import as_seen
from img_engine.render.picture import Picture, Region, Result, Upload
from img_engine.render.reading.decoding import frames
from img_engine.render.steps import (
    blur,
    check_memory,
    crop,
    crop_source,
    flatten,
    grayscale,
    pad,
    plan_results,
    scale,
    sharpen,
    shrink_on_load,
    to_srgb,
    trim,
    turn,
    turn_upright,
    watermark,
)

LOADING: Final[tuple[Callable[[Upload, Resize], Upload], ...]] = (
    turn,
    crop_source,
    trim,  # the only one that has to see pixels
    plan_results,
    shrink_on_load,  # a JPEG is never decoded larger than it is needed
    check_memory,  # before a pixel is decoded
)
"""What is done to an upload, once."""

STEPS: Final[tuple[Callable[[Picture, Resize], Picture], ...]] = (
    scale,
    turn_upright,  # after scaling: fewer pixels to move
    to_srgb,  # after scaling: fewer pixels to convert
    crop,
    grayscale,
    blur,
    sharpen,
    pad,  # after the look: a border is neither blurred nor grey
    flatten,
    watermark,
)
"""What is done to each of its frames, for each result."""

_LOSES_NOTHING: Final = 2
"""A result may be made from another that is at least so many times its size: Lanczos after Lanczos shows nothing."""


@dataclass
class Made:
    """A result that is finished but for its encoding."""

    result: Result
    first: Picture | None = None
    frames: list[Image.Image] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    warnings: dict[str, ResultWarning] = field(default_factory=dict)
    """By code: what one frame has lost, the others have, too."""

    def add(self, picture: Picture, milliseconds: float) -> None:
        """Append a frame."""
        self.first = self.first or picture
        self.frames.append(picture.image)
        self.milliseconds.append(milliseconds)
        for warning in picture.warnings:
            self.warnings.setdefault(warning.code, warning)

    def lost(self, expected: int) -> None:
        """Say that the upload had more frames, which are damaged."""
        detail = f"{len(self.frames)} of the upload's {expected} frames can be decoded; the others are damaged"
        self.warnings["frames"] = ResultWarning(code=WarningCode.FRAMES_DROPPED, detail=detail)


def load(upload: Upload, ask: Resize) -> Upload:
    """Decide what is to be made of an upload, and get it ready to be decoded. Raises PictureRefused."""
    for step in LOADING:
        upload = step(upload, ask)
    return upload


def process(upload: Upload, stamp: Image.Image | None = None) -> list[Made]:
    """Make every result of an upload that was loaded. What a decoder raises passes through."""
    made = [Made(result) for result in upload.results]
    largest_first = sorted(made, key=lambda one: one.result.plan.scaled, reverse=True)
    for frame in frames(upload, all_of_them=any(result.keeps_frames for result in upload.results)):
        sources = [(frame.image, _region(upload, frame.image.size))]
        for one in largest_first:
            if one.first is None or one.result.keeps_frames:
                picture = _begin(one, upload, sources, stamp)
                for step in STEPS:
                    picture = step(picture, one.result.ask)
                    if step is scale:
                        sources.append((picture.image, picture.region))
                one.add(picture, frame.milliseconds)
    for one in made:
        if one.result.keeps_frames and len(one.frames) < upload.facts.frames:
            one.lost(upload.facts.frames)
    return made


def _begin(one: Made, upload: Upload, sources: list[tuple[Image.Image, Region]], stamp: Image.Image | None) -> Picture:
    """A picture before the first step, made from the smallest source that loses nothing."""
    result = one.result
    width, height = as_seen(result.plan.scaled, upload.orientation)
    image, region = sources[0]
    for smaller, its_region in sources[1:]:
        if smaller.width >= _LOSES_NOTHING * width and smaller.height >= _LOSES_NOTHING * height:
            image, region = smaller, its_region
    return Picture(
        image=image,
        region=region,
        plan=result.plan,
        encoder=result.encoder,
        profile=upload.profile,
        orientation=upload.orientation,
        cut=one.first.cut if one.first else None,
        stamp=stamp,
    )


def _region(upload: Upload, decoded: tuple[int, int]) -> Region:
    """Where the region lies in a picture that was perhaps decoded smaller than it is stored (JPEG: 1/2, 1/4, 1/8).

    To a fraction of a pixel: a side of 2725 decoded at 1/2 has 1363 pixels, of which 1362.5 are picture.
    """
    by = next(by for by in (1, 2, 4, 8) if tuple(-(-side // by) for side in upload.stored) == decoded)
    left, top, right, bottom = (side / by for side in upload.region)
    return left, top, min(right, decoded[0]), min(bottom, decoded[1])
