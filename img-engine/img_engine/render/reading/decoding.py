"""Decoding an upload to one of the modes that the steps know: L, RGB, RGBA or CMYK of 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode
from PIL import Image, ImageMath

from img_engine.render.animation import Frame, compose
from img_engine.render.picture import Upload
from img_engine.render.picture_faults import PictureRefused, picture_faults
from img_engine.render.reading.png import read_png


def frames(upload: Upload, *, all_of_them: bool) -> Iterator[Frame]:
    """Yield the upload's frames, each decoded when it is needed; only the first unless `all_of_them`.

    An animation that is damaged later on ends before the damage, as it does in browsers.
    """
    frames = compose(upload.patches, upload.stored, decoded) if upload.patches else _by_pillow(upload)
    for number in range(upload.facts.frames if all_of_them else 1):
        try:
            with picture_faults("decoded"):
                frame = next(frames)
                image = decoded(frame.image)
                yield replace(frame, image=image if upload.window is None else image.crop(upload.window))
        except PictureRefused as refused:
            if refused.failure.code is not FailureCode.PICTURE_CORRUPT:
                raise
            if number:
                return
            if upload.format is not Format.PNG or not upload.patches:
                raise
            yield Frame(decoded(upload.image), 0)  # the picture for programs that know no animations
            return


def first_frame(upload: Upload) -> Image.Image:
    """Decode the first frame."""
    return next(frames(upload, all_of_them=False)).image


def _by_pillow(upload: Upload) -> Iterator[Frame]:
    if not upload.animated:
        yield Frame(_read_png(upload) or upload.image, 0)
        return
    for number in range(upload.facts.frames):
        upload.image.seek(number)
        upload.image.load()
        yield Frame(upload.image.copy(), float(upload.image.info.get("duration", 0)))


def _read_png(upload: Upload) -> Image.Image | None:
    """Decode a PNG by the faster way, unless a step has decoded it already; None for everything else."""
    if upload.format is not Format.PNG or not getattr(upload.image, "tile", None):
        return None
    upload.file.seek(0)
    return read_png(upload.file.read())


def decoded(image: Image.Image) -> Image.Image:
    """Decode, and convert to a mode that can be resampled: no palette can, and 16 bits are scaled, not cut."""
    image.load()
    if image.mode.startswith("I;16"):
        image = _to_eight_bits(image)
    if image.mode == "RGBA":
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in ("L", "RGB", "CMYK"):
        return image.convert("RGB")
    return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a grey PNG of 16 bits to L, or to LA where it has a transparent grey."""
    invisible = image.info.get("transparency")
    grey = image.convert("F").point(lambda sample: sample * (1 / 257) + 0.5).convert("L")
    if isinstance(invisible, int):
        # PNG's tRNS names one sample value; it must be looked for before the samples lose their lower bits.
        opaque = ImageMath.lambda_eval(
            lambda images: images["convert"]((images["samples"] != invisible) * 255, "L"), samples=image.convert("I")
        )
        grey = Image.merge("LA", (grey, opaque))
    return grey
