"""From a file to a `Picture` whose header has been judged and whose pixels have not been touched."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

import pillow_heif
from img_contract.formats import Format
from img_contract.job import MAX_SIDE, Resize
from img_contract.outcome import Facts, FailureCode, WarningCode
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError

from .errors import PictureRefused
from .formats import DECODERS, ENCODERS, output_format
from .geometry import Plan, plan
from .picture import UPRIGHT, Picture

_MEGA: Final = 1_000_000

_OF_THE_DISK: Final = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE}
)
"""Errors that say nothing about the picture. Others may: a corrupt offset makes a seek fail with EINVAL."""

_TURNED_BY_DECODER: Final = frozenset({Format.TIFF, Format.HEIC})
"""Formats whose decoders apply the orientation: Pillow's for TIFF, libheif for HEIC."""


@dataclass(frozen=True)
class PictureLimits:
    """How large a picture may be."""

    pixels: int
    frames: int
    memory: int
    """Address space of the child that renders it, in bytes."""


@contextmanager
def picture_faults(verb: str) -> Iterator[None]:
    """Whatever a decoder or an encoder raises is the picture's fault, except what the disk reports.

    `verb` says what was being done: decoded, encoded.

    Decoders raise far more than OSError: ValueError, TypeError, IndexError, KeyError, RuntimeError, SyntaxError,
    EOFError, struct.error and zlib.error were all seen on corrupt files.
    """
    try:
        yield
    except PictureRefused:
        raise
    except MemoryError:
        raise PictureRefused(
            FailureCode.TOO_MUCH_MEMORY, f"the picture needs more memory to be {verb} than a job may have"
        ) from None
    except UnidentifiedImageError:
        raise PictureRefused(
            FailureCode.PICTURE_UNSUPPORTED,
            "the picture's first bytes are right, but what follows is damaged, or of a kind that cannot be decoded",
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        reason = str(error) or type(error).__name__
        raise PictureRefused(FailureCode.PICTURE_CORRUPT, f"the picture cannot be {verb}: {reason}") from error


def open_picture(file: BinaryIO, source: Format, ask: Resize, limits: PictureLimits) -> Picture:
    """Read the header, check every limit, and plan. Raises PictureRefused; OSError if the file cannot be read."""
    with picture_faults("decoded"):
        if source is Format.WEBP:
            _check_pixels(_webp_canvas(file), limits, "the picture")  # libwebp allocates it when it is opened
        image = Image.open(file, formats=DECODERS[source])
        stored = image.size
        _check_pixels(stored, limits, "the picture")
        frames = _count_frames(image, source, limits.frames)
        found = _orientation(image)
    orientation = UPRIGHT if source in _TURNED_BY_DECODER else found  # what is left to do
    upright = stored if orientation < 5 else (stored[1], stored[0])  # noqa: PLR2004  EXIF: 5 to 8 lie on a side
    facts = Facts(width=upright[0], height=upright[1], frames=frames, orientation=found)
    sizes = plan(upright, ask)
    with _facts_told(facts):
        return _planned(image, facts, sizes, orientation, ask, source, limits)


def _planned(
    image: Image.Image, facts: Facts, sizes: Plan, orientation: int, ask: Resize, source: Format, limits: PictureLimits
) -> Picture:
    encoder = ENCODERS[output_format(source, ask)]
    largest = min(MAX_SIDE, encoder.largest_side)
    if max(sizes.canvas) > largest:
        raise PictureRefused(
            FailureCode.RESULT_TOO_LARGE,
            f"expected a result of at most {largest} pixels a side, found {sizes.canvas[0]} × {sizes.canvas[1]}",
            limit=largest,
            actual=max(sizes.canvas),
        )
    _check_pixels(sizes.scaled, limits, "the scaled picture", FailureCode.RESULT_TOO_LARGE)
    _check_pixels(sizes.canvas, limits, "the result", FailureCode.RESULT_TOO_LARGE)
    profile = image.info.get("icc_profile")
    picture = Picture(image, facts, sizes, encoder, profile, orientation, memory=limits.memory)
    return _warned_of_the_ask(picture, ask)


def configure_decoders() -> None:
    """Set up Pillow once in a child: HEIC, and one core for each decoder. Size limits are `open_picture`'s."""
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own check would say neither the limit nor by how much it was passed
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)


def _check_pixels(
    size: tuple[int, int],
    limits: PictureLimits,
    what: str,
    code: FailureCode = FailureCode.TOO_MANY_PIXELS,
) -> None:
    pixels = size[0] * size[1]
    if pixels > limits.pixels:
        raise PictureRefused(
            code,
            f"expected at most {limits.pixels / _MEGA:g} megapixels, found {what} of {size[0]} × {size[1]}, "
            f"{pixels / _MEGA:.1f} megapixels",
            limit=limits.pixels,
            actual=pixels,
        )


@contextmanager
def _facts_told(facts: Facts) -> Iterator[None]:
    """Let a refusal carry what the header said."""
    try:
        yield
    except PictureRefused as refused:
        refused.facts = facts
        raise


def _webp_canvas(file: BinaryIO) -> tuple[int, int]:
    """The canvas of an extended WebP by its VP8X chunk; 0 × 0 for the simple kinds, which are 16,383 a side at most.

    https://developers.google.com/speed/webp/docs/riff_container#extended_file_format
    """
    head = file.read(30)
    file.seek(0)
    if head[12:16] != b"VP8X" or len(head) < 30:  # noqa: PLR2004  the chunk's end
        return 0, 0
    return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")


def _count_frames(image: Image.Image, source: Format, most: int) -> int:
    """How many frames or pages there are. Raises PictureRefused past `most`."""
    # Pillow's n_frames of a TIFF would walk all pages, however many.
    frames = _count_pages(image, most) if source is Format.TIFF else int(getattr(image, "n_frames", 1))
    if frames > most:
        raise PictureRefused(
            FailureCode.TOO_MANY_FRAMES,
            f"expected at most {most} frames, found {frames} or more",
            limit=most,
            actual=frames,
        )
    return frames


def _count_pages(image: Image.Image, most: int) -> int:
    pages = 1
    with suppress(Exception):  # EOFError after the last page; a page that is damaged is none
        while pages <= most:
            image.seek(pages)
            pages += 1
    image.seek(0)
    return pages


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001  EXIF that cannot be read says nothing; the picture itself may be whole
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT  # noqa: PLR2004  EXIF's eight


def _warned_of_the_ask(picture: Picture, ask: Resize) -> Picture:
    facts = picture.facts
    wished = plan((facts.width, facts.height), ask.model_copy(update={"enlarge": True}))
    if facts.frames > 1:
        picture = picture.warned(
            WarningCode.FRAMES_DROPPED, f"the upload has {facts.frames} frames; the result has the first one"
        )
    if wished != picture.plan:
        picture = picture.warned(
            WarningCode.NOT_ENLARGED,
            f"the upload is {facts.width} × {facts.height}, smaller than asked; enlarge=true enlarges it",
        )
    if ask.quality is not None and not picture.encoder.lossy:
        picture = picture.warned(
            WarningCode.PARAMETER_UNUSED,
            f"quality has no effect on {picture.encoder.pillow.lower()}, which is lossless",
        )
    return picture
