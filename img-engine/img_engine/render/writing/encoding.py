"""Encoding the frames of a result to the bytes of a file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from img_contract.job.formats import SUFFIXES, Format
from img_contract.job.outcome import ResultWarning, WarningCode
from PIL import Image

from img_engine.render.picture import ResultPlan, Upload
from img_engine.render.rendered_frames import RenderedFrames
from img_engine.render.writing.animation import animation_options, in_hundredths, loop_count, merged, repeats
from img_engine.render.writing.avif_loops import with_loop_count
from img_engine.render.writing.gif import join
from img_engine.render.writing.gif_xmp import with_xmp
from img_engine.render.writing.metadata import KeptMetadata, of_result
from img_engine.render.writing.metadata_options import metadata_options, tiff_tags
from img_engine.render.writing.palette import to_palette, to_translucent_palette, translucent, visible
from img_engine.render.writing.png import compression

_BEST: Final = 100
_HARDEST: Final = 9
"""Deflate's highest level."""


@dataclass(frozen=True)
class EncodedFile:
    """A result's file in memory, and its facts for the status."""

    name: str
    media_type: str
    size: tuple[int, int]
    """Pixels."""
    frames: int
    data: bytes
    warnings: tuple[ResultWarning, ...] = ()


def encoded_file(
    plan: ResultPlan, size: tuple[int, int], data: bytes, frames: int = 1, warnings: Iterable[ResultWarning] = ()
) -> EncodedFile:
    """Name a result's file: as its variant, or `image` with the format's suffix."""
    name = plan.name or f"image.{SUFFIXES[plan.encoder.format]}"
    return EncodedFile(name, plan.encoder.media_type, size, frames, data, tuple(warnings))


def encode(rendered: RenderedFrames, upload: Upload, metadata: KeptMetadata) -> EncodedFile:
    """Encode a result of the pipeline."""
    encoding = _Encoding(rendered, upload, metadata)
    data = encoding.data()
    return encoded_file(
        rendered.plan, encoding.frames[0].size, data, frames=len(encoding.frames), warnings=encoding.warnings
    )


class _Encoding:
    """One result on its way into a file. `warnings` has what was lost so far."""

    def __init__(self, rendered: RenderedFrames, upload: Upload, metadata: KeptMetadata) -> None:
        self._rendered = rendered
        self._options = rendered.plan.options
        self._encoder = rendered.plan.encoder
        self._upload = upload
        self.warnings = list(rendered.warnings.values())
        self.frames, self._milliseconds = merged(self._in_its_modes(), rendered.milliseconds)
        self._save_options = self._all_but_quality(metadata)

    def data(self) -> bytes:
        """Return the file; with `max_bytes`, the one of the best quality that fits."""
        most = self._options.max_bytes
        if self._encoder.format is Format.PNG and len(self.frames) == 1:
            data = self._png(most)
        elif most is None:
            return self._save(self._options.quality)
        else:
            lossless = self._encoder.quality is None or self._options.lossless
            data = self._save(None) if lossless else self._best_that_fits(most, self._options.quality or _BEST)
        if most is not None and len(data) > most:
            self._warn(
                WarningCode.MAX_BYTES_EXCEEDED,
                f"expected at most {most} bytes; the smallest {self._encoder.format} that was found has {len(data)}",
            )
        return data

    def _png(self, most: int | None) -> bytes:
        """Return a PNG. One whose upload was indexed stays so if that is smaller.

        What is larger than `most` is compressed as well as can be, and then reduced to a palette.
        """
        data = self._save(None)
        indexed = self.frames[0].mode == "P"
        if self._upload.image.mode == "P" and not indexed and not self._options.lossless:
            data = min(data, self._reduced(0), key=len)
        if most is None or len(data) <= most:
            return data
        self._save_options |= {"compress_level": _HARDEST, "compress_type": zlib.Z_DEFAULT_STRATEGY}
        data = min(data, self._save(None), key=len)
        if len(data) <= most or indexed or self._options.lossless:
            return data
        smaller = self._reduced(_HARDEST)
        if len(smaller) >= len(data):
            return data
        self._warn(
            WarningCode.COLOURS_REDUCED,
            f"the png has at most 256 colours: with all of them it has {len(data)} bytes, more than {most}",
        )
        return smaller

    def _reduced(self, level: int) -> bytes:
        """Return the PNG with a palette, compressed at that level, or as suits it (0)."""
        frame = _bare(to_translucent_palette(self.frames[0]))
        packing = {"compress_level": level} if level else compression(frame, self._options)
        others = {name: value for name, value in self._save_options.items() if not name.startswith("compress")}
        buffer = io.BytesIO()
        frame.save(buffer, "PNG", **others, **packing)
        return buffer.getvalue()

    def _best_that_fits(self, most: int, highest: int) -> bytes:
        """Find the file of the highest quality that fits, by bisection; the smallest that was found if none does."""
        data = self._save(highest)
        fits, too_high = (highest, highest) if len(data) <= most else (0, highest)
        while too_high - fits > 1:
            middle = (fits + too_high) // 2
            tried = self._save(middle)
            if len(tried) <= most:
                fits, data = middle, tried
            else:
                too_high = middle
                data = tried if not fits else data
        return data

    def _save(self, quality: int | None) -> bytes:
        if self._encoder.format is Format.GIF and len(self.frames) > 1 and self._clears():
            times = loop_count(self._upload)
            said = self._save_options
            count = None if times == 1 else repeats(times)
            joined = join(self.frames, in_hundredths(self._milliseconds), count, said.get("comment", ""))
            return with_xmp(joined, said.get("xmp", b""))
        buffer = io.BytesIO()
        options = dict(self._save_options)
        gif_xmp = options.pop("xmp", b"") if self._encoder.format is Format.GIF else b""
        if self._encoder.quality is not None:
            options["quality"] = quality or self._encoder.quality
        self.frames[0].save(buffer, self._encoder.pillow, **options)
        if self._encoder.format is Format.AVIF and len(self.frames) > 1:
            return with_loop_count(buffer.getvalue(), loop_count(self._upload))
        return with_xmp(buffer.getvalue(), gif_xmp)

    def _clears(self) -> bool:
        return any("transparency" in frame.info for frame in self.frames)

    def _in_its_modes(self) -> list[Image.Image]:
        """Convert the frames to one mode that the format takes."""
        frames, encoder = self._rendered.frames, self._encoder
        if encoder.format is Format.GIF:
            if any(translucent(frame) for frame in frames):
                self._warn(
                    WarningCode.ALPHA_FLATTENED,
                    "gif holds no partial transparency; each pixel was made opaque or transparent",
                )
            clear = any(visible(frame) is not None for frame in frames)
            return [_bare(to_palette(frame, clear_entry=clear)) for frame in frames]
        if encoder.format is Format.PNG and self._options.palette and len(frames) == 1:
            return [_bare(to_translucent_palette(frames[0]))]
        modes = {frame.mode for frame in frames}
        if len(modes) == 1 and modes <= set(encoder.modes):
            return [_bare(frame) for frame in frames]
        mode = "RGBA" if "RGBA" in modes else "RGB"
        return [_bare(frame.convert(mode)) for frame in frames]

    def _all_but_quality(self, kept: KeptMetadata) -> dict[str, Any]:
        options = self._encoder.save_options(self._options)
        if self._encoder.format is Format.PNG:
            options |= compression(self.frames[0], self._options)
        kept = of_result(kept, self._rendered.plan, self._upload)
        metadata, lost = metadata_options(self._encoder, kept)
        if lost:
            self._warn(
                WarningCode.METADATA_DROPPED, f"{self._encoder.format} cannot hold the upload's {' and '.join(lost)}"
            )
        if kept.lost:
            detail = f"left out, as it would not be true of the result, or is not known here: {', '.join(kept.lost)}"
            self._warn(WarningCode.METADATA_DROPPED, detail)
        options |= metadata
        if self._encoder.format is Format.TIFF:
            options |= tiff_tags(kept, options.pop("xmp", b""))
        if self._rendered.first and self._rendered.first.profile:
            options["icc_profile"] = self._rendered.first.profile
        if len(self.frames) > 1:
            options |= animation_options(
                self.frames, self._milliseconds, loop_count(self._upload), self._encoder.format
            )
        return options

    def _warn(self, code: WarningCode, detail: str) -> None:
        self.warnings.append(ResultWarning(code=code, detail=detail))


def _bare(image: Image.Image) -> Image.Image:
    """Remove what Pillow would carry over by itself: a comment, a resolution, a duration, a TIFF's other tags."""
    if type(image) is not Image.Image:  # the opened file itself; that of a TIFF has all of its tags
        image = image.copy()
    image.info = {key: value for key, value in image.info.items() if key == "transparency" and image.mode == "P"}
    return image
