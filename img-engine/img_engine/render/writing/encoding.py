"""From finished frames to the bytes of a file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

from img_contract.job.formats import SUFFIXES, Format
from img_contract.job.outcome import ResultWarning, WarningCode
from PIL import Image

from img_engine.render.picture import Result, Upload
from img_engine.render.pipeline import Made
from img_engine.render.writing.animation import animation_options, in_hundredths, merged, plays, repeats
from img_engine.render.writing.avif_loops import with_plays
from img_engine.render.writing.gif import join
from img_engine.render.writing.metadata import KeptMetadata, metadata_options, tiff_tags
from img_engine.render.writing.palette import to_palette, to_translucent_palette, translucent, visible
from img_engine.render.writing.png import compression

_BEST: Final = 100


@dataclass(frozen=True)
class Finished:
    """A result's file, and what is to be said of it."""

    name: str
    media_type: str
    size: tuple[int, int]
    """Pixels."""
    frames: int
    data: bytes
    warnings: tuple[ResultWarning, ...] = ()


def finished(
    result: Result, size: tuple[int, int], frames: int, data: bytes, warnings: list[ResultWarning]
) -> Finished:
    """A result under its variant's name, or image with the format's suffix."""
    name = result.name or f"image.{SUFFIXES[result.encoder.format]}"
    return Finished(name, result.encoder.media_type, size, frames, data, tuple(warnings))


def encode(made: Made, upload: Upload, kept: KeptMetadata) -> Finished:
    """Encode a result that the pipeline has made."""
    encoding = _Encoding(made, upload, kept)
    data = encoding.data()
    return finished(made.result, encoding.frames[0].size, len(encoding.frames), data, encoding.warnings)


class _Encoding:
    """One result on its way into a file. `warnings` has what was lost up to then."""

    def __init__(self, made: Made, upload: Upload, kept: KeptMetadata) -> None:
        self._made = made
        self._ask = made.result.ask
        self._encoder = made.result.encoder
        self._upload = upload
        self.warnings = list(made.warnings.values())
        self.frames, self._milliseconds = merged(self._in_its_modes(), made.milliseconds)
        self._options = self._all_but_quality(kept)

    def data(self) -> bytes:
        """The file; with `max_bytes`, the one of the best quality that fits."""
        most = self._ask.max_bytes
        if most is None:
            return self._saved(self._ask.quality)
        lossless = self._encoder.quality is None or self._ask.lossless
        data = self._saved(None) if lossless else self._best_that_fits(most, self._ask.quality or _BEST)
        if len(data) > most:
            self._warn(
                WarningCode.MAX_BYTES_EXCEEDED,
                f"expected at most {most} bytes; the smallest {self._encoder.format} that was found has {len(data)}",
            )
        return data

    def _best_that_fits(self, most: int, highest: int) -> bytes:
        """The file of the highest quality that fits, by bisection; the smallest that was found if none does."""
        data = self._saved(highest)
        fits, too_high = (highest, highest) if len(data) <= most else (0, highest)
        while too_high - fits > 1:
            middle = (fits + too_high) // 2
            tried = self._saved(middle)
            if len(tried) <= most:
                fits, data = middle, tried
            else:
                too_high = middle
                data = tried if not fits else data
        return data

    def _saved(self, quality: int | None) -> bytes:
        if self._encoder.format is Format.GIF and len(self.frames) > 1 and self._clears():
            times = plays(self._upload)
            return join(self.frames, in_hundredths(self._milliseconds), None if times == 1 else repeats(times))
        buffer = io.BytesIO()
        options = dict(self._options)
        if self._encoder.quality is not None:
            options["quality"] = quality or self._encoder.quality
        self.frames[0].save(buffer, self._encoder.pillow, **options)
        if self._encoder.format is Format.AVIF and len(self.frames) > 1:
            return with_plays(buffer.getvalue(), plays(self._upload))
        return buffer.getvalue()

    def _clears(self) -> bool:
        return any("transparency" in frame.info for frame in self.frames)

    def _in_its_modes(self) -> list[Image.Image]:
        """The frames, all in one mode that the format takes."""
        frames, encoder = self._made.frames, self._encoder
        if encoder.format is Format.GIF:
            if any(translucent(frame) for frame in frames):
                self._warn(
                    WarningCode.ALPHA_FLATTENED,
                    "gif holds no partial transparency; each pixel was made opaque or transparent",
                )
            clear = any(visible(frame) is not None for frame in frames)
            return [_bare(to_palette(frame, clear_entry=clear)) for frame in frames]
        if encoder.format is Format.PNG and self._ask.palette and len(frames) == 1:
            return [_bare(to_translucent_palette(frames[0]))]
        modes = {frame.mode for frame in frames}
        if len(modes) == 1 and modes <= set(encoder.modes):
            return [_bare(frame) for frame in frames]
        mode = "RGBA" if "RGBA" in modes else "RGB"
        return [_bare(frame.convert(mode)) for frame in frames]

    def _all_but_quality(self, kept: KeptMetadata) -> dict[str, Any]:
        options = self._encoder.options(self._ask)
        if self._encoder.format is Format.PNG:
            options |= compression(self.frames[0], self._ask)
        metadata, lost = metadata_options(self._encoder, kept)
        if lost:
            self._warn(
                WarningCode.METADATA_DROPPED, f"{self._encoder.format} cannot hold the upload's {' and '.join(lost)}"
            )
        options |= metadata
        if self._encoder.format is Format.TIFF:
            options |= tiff_tags(kept)
        if self._made.first and self._made.first.profile:
            options["icc_profile"] = self._made.first.profile
        if len(self.frames) > 1:
            options |= animation_options(self.frames, self._milliseconds, plays(self._upload), self._encoder.format)
        return options

    def _warn(self, code: WarningCode, detail: str) -> None:
        self.warnings.append(ResultWarning(code=code, detail=detail))


def _bare(image: Image.Image) -> Image.Image:
    """Without what Pillow would carry over by itself: a comment, a resolution, a duration, a TIFF's other tags."""
    if type(image) is not Image.Image:  # a picture as its file was opened; a TIFF's knows every tag of it
        image = image.copy()
    image.info = {key: value for key, value in image.info.items() if key == "transparency" and image.mode == "P"}
    return image
