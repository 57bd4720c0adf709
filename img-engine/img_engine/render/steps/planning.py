"""What is to be made of the upload, and whether that can be done; no pixel is decoded here."""

from __future__ import annotations

from dataclasses import replace

from img_contract.job.formats import AUTO, Format
from img_contract.job.outcome import FailureCode, WarningCode
from img_contract.job.resize import Resize
from img_contract.job.values import MAX_SIDE
from img_contract.job.variants import Variant

from img_engine.errors import PictureRefused
from img_engine.render.formats import ENCODERS, Encoder, best_format, nearest_format, unused
from img_engine.render.geometry import Plan, plan
from img_engine.render.memory import check_room
from img_engine.render.orientation import as_seen
from img_engine.render.picture import OPAQUE, Result, Upload
from img_engine.render.reading.decoding import first_frame
from img_engine.render.reading.opening import check_pixels


def plan_results(upload: Upload, ask: Resize) -> Upload:
    """Decide format and size of every result. Raises PictureRefused for one that would be too large."""
    left, top, right, bottom = upload.region
    seen = as_seen((right - left, bottom - top), upload.orientation)
    results = []
    for name, one in renditions(ask):
        encoder = ENCODERS[_format(upload, one)]
        sizes = plan(seen, one)
        _check_size(sizes, encoder, upload)
        result = Result(name, one, sizes, encoder, keeps_frames=upload.animated and encoder.animated)
        results.append(result)
        upload = _warned(upload, result, seen)
    return replace(upload, results=tuple(results))


def shrink_on_load(upload: Upload, _: Resize) -> Upload:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where the filter still has enough to do. No effect on other formats.

    sharp's rule: the largest factor, halved if it is the whole part of what is to be shrunk by: else next to nothing
    would be left to the filter.
    """
    width, height = upload.stored
    by = shrink_factor(upload)
    upload.image.draft(None, (width // by, height // by))
    return upload


def shrink_factor(upload: Upload) -> int:
    """By how much libjpeg is to shrink the picture while it decodes it: 1, 2, 4 or 8."""
    left, top, right, bottom = upload.region
    sizes = [as_seen(result.plan.scaled, upload.orientation) for result in upload.results]
    shrink = min(min((right - left) / width, (bottom - top) / height) for width, height in sizes)
    factor = next((by for by in (8, 4, 2) if by <= shrink), 1)
    return max(1, factor // 2) if factor == int(shrink) else factor


def check_memory(upload: Upload, _: Resize) -> Upload:
    """Refuse what would not fit: some libraries end the process when memory runs out, and could not say why."""
    check_room(upload, upload.image.size)
    return upload


def renditions(ask: Resize) -> list[tuple[str | None, Resize]]:
    """Each result that is asked for: its variant's name, and what is asked for it."""
    found: list[tuple[str | None, Resize]] = []
    if ask.width is not None or ask.height is not None:
        found.append((None, ask))
    found += [(variant.name, _as_said(variant, ask)) for variant in ask.variants or ()]
    return found


def _as_said(variant: Variant, ask: Resize) -> Resize:
    said = variant.model_dump(exclude={"name"}, exclude_none=True)
    return ask.model_copy(update={"width": None, "height": None} | said)


def _format(upload: Upload, ask: Resize) -> Format:
    if ask.format == AUTO:
        return best_format(upload.accept, alpha=_transparent(upload), animated=upload.animated, lossless=ask.lossless)
    return ask.format or nearest_format(upload.format)


def _transparent(upload: Upload) -> bool:
    """Whether anything shows through. A picture that may be transparent is decoded to see; an animation is taken to."""
    if upload.animated or not upload.image.has_transparency_data:
        return upload.animated
    check_room(upload, upload.image.size)
    image = first_frame(upload)
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != OPAQUE


def _check_size(sizes: Plan, encoder: Encoder, upload: Upload) -> None:
    largest = min(MAX_SIDE, encoder.largest_side)
    if max(sizes.canvas) > largest:
        raise PictureRefused(
            FailureCode.RESULT_TOO_LARGE,
            f"expected a result of at most {largest} pixels a side, found {sizes.canvas[0]} × {sizes.canvas[1]}",
            limit=largest,
            actual=max(sizes.canvas),
        )
    check_pixels(sizes.scaled, upload.limits, "the scaled picture", FailureCode.RESULT_TOO_LARGE)
    check_pixels(sizes.canvas, upload.limits, "the result", FailureCode.RESULT_TOO_LARGE)


def _warned(upload: Upload, result: Result, seen: tuple[int, int]) -> Upload:
    facts, encoder, what = upload.facts, result.encoder, f"{result.name}: " if result.name else ""
    if facts.frames > 1 and not result.keeps_frames:
        upload = upload.warned(
            WarningCode.FRAMES_DROPPED, f"{what}the upload has {facts.frames} frames; the result has the first one"
        )
    if plan(seen, result.ask.model_copy(update={"enlarge": True})) != result.plan:
        upload = upload.warned(
            WarningCode.NOT_ENLARGED,
            f"{what}the picture is {seen[0]} × {seen[1]}, smaller than asked; enlarge=true enlarges it",
        )
    if names := unused(encoder, result.ask, moving=result.keeps_frames):
        upload = upload.warned(
            WarningCode.PARAMETER_UNUSED, f"{what}{', '.join(names)} has no effect on {encoder.format}"
        )
    return upload
