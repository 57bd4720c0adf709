"""Plan the results of an upload, and check that they can be made."""

from __future__ import annotations

from dataclasses import replace

from img_contract.job.formats import AUTO, Format
from img_contract.job.outcome import FailureCode, WarningCode
from img_contract.job.resize import Resize
from img_contract.job.values import MAX_SIDE
from img_contract.job.variants import Variant

from img_engine.render.formats import ENCODERS, Encoder, best_format, nearest_format, unused
from img_engine.render.geometry import Sizes, plan_sizes
from img_engine.render.memory import check_room
from img_engine.render.orientation import as_seen
from img_engine.render.picture import OPAQUE, ResultPlan, Upload
from img_engine.render.picture_faults import PictureRefused
from img_engine.render.reading.bounds import check_pixels
from img_engine.render.reading.decoding import first_frame


def plan_results(upload: Upload, options: Resize) -> Upload:
    """Choose format and size of every result. Raises PictureRefused for one that would be too large."""
    left, top, right, bottom = upload.region
    seen = as_seen((right - left, bottom - top), upload.orientation)
    results = []
    for name, one in renditions(options):
        encoder = ENCODERS[_format(upload, one)]
        sizes = plan_sizes(seen, one)
        _check_size(sizes, encoder, upload)
        result = ResultPlan(name, one, sizes, encoder, keeps_frames=upload.animated and encoder.animated)
        results.append(result)
        upload = _warned(upload, result, seen)
    return replace(upload, results=tuple(results))


def shrink_on_load(upload: Upload, _: Resize) -> Upload:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that leaves the filter enough to do. No effect on other formats.

    sharp's rule: the largest factor, halved if it is the whole part of the scale, as next to nothing would be left to
    the filter.
    """
    width, height = upload.stored
    by = shrink_factor(upload)
    upload.image.draft(None, (width // by, height // by))
    return upload


def shrink_factor(upload: Upload) -> int:
    """Return by how much libjpeg shrinks the picture while decoding: 1, 2, 4 or 8."""
    left, top, right, bottom = upload.region
    sizes = [result.stored_size(upload.orientation) for result in upload.results]
    shrink = min(min((right - left) / width, (bottom - top) / height) for width, height in sizes)
    factor = next((by for by in (8, 4, 2) if by <= shrink), 1)
    return max(1, factor // 2) if factor == int(shrink) else factor


def check_memory(upload: Upload, _: Resize) -> Upload:
    """Refuse what would not fit: some libraries end the process without a reason when memory runs out."""
    check_room(upload, upload.image.size)
    return upload


def renditions(options: Resize) -> list[tuple[str | None, Resize]]:
    """Return each requested result: its variant's name, and its options."""
    found: list[tuple[str | None, Resize]] = []
    if options.width is not None or options.height is not None:
        found.append((None, options))
    found += [(variant.name, _options_of(variant, options)) for variant in options.variants or ()]
    return found


def _options_of(variant: Variant, options: Resize) -> Resize:
    own = variant.model_dump(exclude={"name"}, exclude_none=True)
    return options.model_copy(update={"width": None, "height": None} | own)


def _format(upload: Upload, options: Resize) -> Format:
    if options.format == AUTO:
        return best_format(
            upload.accept, alpha=_transparent(upload), animated=upload.animated, lossless=options.lossless
        )
    return options.format or nearest_format(upload.format)


def _transparent(upload: Upload) -> bool:
    """Return whether anything is transparent. A picture that may be is decoded to see; an animation is taken to."""
    if upload.animated or not upload.image.has_transparency_data:
        return upload.animated
    check_room(upload, upload.image.size)
    image = first_frame(upload)
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != OPAQUE


def _check_size(sizes: Sizes, encoder: Encoder, upload: Upload) -> None:
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


def _warned(upload: Upload, result: ResultPlan, seen: tuple[int, int]) -> Upload:
    facts, encoder, what = upload.facts, result.encoder, f"{result.name}: " if result.name else ""
    if facts.frames > 1 and not result.keeps_frames:
        upload = upload.warned(
            WarningCode.FRAMES_DROPPED, f"{what}the upload has {facts.frames} frames; the result has the first one"
        )
    if plan_sizes(seen, result.options.model_copy(update={"enlarge": True})) != result.sizes:
        upload = upload.warned(
            WarningCode.NOT_ENLARGED,
            f"{what}the picture is {seen[0]} × {seen[1]}, smaller than asked; enlarge=true enlarges it",
        )
    if names := unused(encoder, result.options, moving=result.keeps_frames):
        upload = upload.warned(
            WarningCode.PARAMETER_UNUSED, f"{what}{', '.join(names)} has no effect on {encoder.format}"
        )
    return upload
