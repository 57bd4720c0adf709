"""How much memory an upload takes to render, estimated from its header and checked against the limit."""

from __future__ import annotations

import math
from typing import Final

from img_contract.job.outcome import FailureCode

from img_engine.render.picture import Upload
from img_engine.render.picture_faults import PictureRefused

_BASE_BYTES: Final = 256 * 1024 * 1024
"""Address space of a child that has rendered nothing yet: Python, libraries, thread stacks. Measured: about 200 MB."""

_MEGA: Final = 1_000_000


def check_room(upload: Upload, decoded: tuple[int, int]) -> None:
    """Raise PictureRefused if the upload, decoded at that size, and its results take more than the limit.

    Pillow holds 4 bytes a pixel. There is one copy of the source (another mode, or premultiplied) and two of the
    result; all frames of an animated result are held until they are encoded, and the decoder of an animation holds
    two more canvases.
    """
    results = [
        (max(math.prod(result.sizes.scaled), math.prod(result.sizes.canvas)), result.keeps_frames)
        for result in upload.results
    ]
    largest = max((pixels for pixels, _ in results), default=0)
    patches = [math.prod(patch.size) for patch in upload.patches]
    source = max([math.prod(decoded), *patches]) * (4 if upload.animated else 2)
    # The resizer scales heights first, then widths: in between it holds the source's width by the new height.
    between = max((decoded[0] * result.stored_size(upload.orientation)[1] for result in upload.results), default=0)
    encoding = max(
        (result.encoder.bytes_per_pixel * math.prod(result.sizes.canvas) for result in upload.results), default=0
    )
    held = sum(pixels * (upload.facts.frames if frames else 1) for pixels, frames in results)
    needed = _BASE_BYTES + 4 * (source + 2 * largest + held + between) + encoding + upload.decoder_bytes
    if needed > upload.limits.memory:
        raise PictureRefused(
            FailureCode.TOO_MUCH_MEMORY,
            f"expected a picture that needs at most {upload.limits.memory} bytes of memory, found about {needed}",
            limit=upload.limits.memory,
            actual=needed,
        )
    moving = max(math.prod(decoded) * upload.facts.frames, sum(patches)) if any(frames for _, frames in results) else 0
    if moving > upload.limits.animation_pixels:
        raise PictureRefused(
            FailureCode.TOO_MANY_PIXELS,
            f"expected an animation of at most {upload.limits.animation_pixels / _MEGA:g} megapixels in all, found "
            f"{upload.facts.frames} frames on {decoded[0]} × {decoded[1]} pixels, {moving / _MEGA:.1f} megapixels",
            limit=upload.limits.animation_pixels,
            actual=moving,
        )
