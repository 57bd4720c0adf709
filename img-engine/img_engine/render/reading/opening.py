"""Opening a file as an `Upload`: its header is checked, its pixels are not decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Final

import pillow_heif
from img_contract.job.formats import Format
from img_contract.job.outcome import Facts, FailureCode, ResultWarning, WarningCode
from PIL import AvifImagePlugin, ExifTags, Image, TiffImagePlugin

from img_engine.render.animation import FramePatch
from img_engine.render.formats import DECODERS
from img_engine.render.orientation import UPRIGHT, Box, as_seen
from img_engine.render.picture import Upload
from img_engine.render.picture_faults import picture_faults
from img_engine.render.reading.apng import read_apng
from img_engine.render.reading.bmp import check_runs
from img_engine.render.reading.bmp_masks import open_bmp
from img_engine.render.reading.bounds import at_most, check_pixels
from img_engine.render.reading.colours import SRGB, Colours, colours_by_cicp, colours_of_png
from img_engine.render.reading.gif import read_gif
from img_engine.render.reading.heif_properties import read_properties
from img_engine.render.reading.ico import picture_sizes
from img_engine.render.reading.ico_opening import open_icon
from img_engine.render.reading.jpeg_markers import check_markers
from img_engine.render.reading.png_chunks import Notes, look_through
from img_engine.render.reading.png_opening import damaged_colours, open_png
from img_engine.render.reading.tiff import open_tiff
from img_engine.render.reading.tiff_directories import count_pages
from img_engine.render.reading.tiff_layout import ASSOCIATED, UNASSOCIATED
from img_engine.render.reading.webp import webp_canvas
from img_engine.render.task import PictureLimits

_TURNED_BY_DECODER: Final = frozenset({Format.TIFF, Format.HEIC})
"""Formats whose decoders apply the orientation: Pillow's for TIFF, libheif for HEIC."""

_MOST_EXIF: Final = 1024 * 1024
"""Longer EXIF is not parsed: Pillow makes a fraction of every eight bytes. A JPEG's has at most 65,527."""

_EXIF_IN_A_BLOCK: Final = frozenset({Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF})
"""Formats that keep EXIF in a block of its own, which Pillow returns as it is."""


GAIN_MAP_DROPPED: Final = "the upload's gain map, which makes it brighter on some screens, is not in the result"


_GAIN_MAPS: Final = re.compile(
    rb"""xmlns:(\w+)\s*=\s*["']http://ns\.(?:adobe\.com/hdr-gain-map|apple\.com/HDRGainMap)/"""
)
"""The prefix of their namespaces in XMP, which may be declared without being used."""

_ISO_GAIN_MAP: Final = b"urn:iso:std:iso:ts:21496"


def open_picture(file: BinaryIO, source: Format, limits: PictureLimits) -> Upload:
    """Read the header and check every limit. Raises PictureRefused; OSError if the file cannot be read."""
    with picture_faults("decoded"):
        known = _check_before(file, source, limits)
        opened = _opened(file, source, known)
        image, stored = opened.image, opened.image.size
        check_pixels(stored, limits, "the picture")
        patches = known.patches or _png_patches(image, file, source, limits)
        for patch in patches:  # a frame may hang over the canvas by any number of pixels
            check_pixels(patch.size, limits, "a frame")
        frames = _count_frames(image, source, patches or known.pages, limits.frames)
        found = _orientation(image, source)
    todo = UPRIGHT if source in _TURNED_BY_DECODER else found
    window = opened.window
    shown = stored if window is None else (window[2] - window[0], window[3] - window[1])
    width, height = as_seen(shown, todo)
    facts = Facts(width=width, height=height, frames=frames, orientation=found)
    return Upload(
        file=file,
        image=image,
        format=source,
        facts=facts,
        limits=limits,
        profile=opened.colours.profile,
        hdr=opened.colours.hdr,
        exif_orientation=todo,
        orientation=todo,
        region=(0, 0, *shown),
        window=window,
        patches=patches,
        decoder_bytes=opened.bytes,
        warnings=opened.warnings,
    )


@dataclass(frozen=True)
class _Opened:
    """A picture as Pillow opened it."""

    image: Image.Image
    bytes: int = 0
    """Memory that decoding takes beside the pixels, where that is much."""
    colours: Colours = SRGB
    window: Box | None = None
    """The part that is to be shown, where that is not all of it; in pixels as stored."""
    warnings: tuple[ResultWarning, ...] = ()


def _opened(file: BinaryIO, source: Format, known: _Known) -> _Opened:
    if source is Format.TIFF:
        image, extra = open_tiff(file)
        lost = image.mode == "CMYK" and {ASSOCIATED, UNASSOCIATED} & set(getattr(image, "tag_v2", {}).get(338, ()))
        told = (ResultWarning(code=WarningCode.ALPHA_FLATTENED, detail="transparency of CMYK is not read"),)
        return _Opened(image, extra, colours=_embedded(image), warnings=told if lost else ())
    if source is Format.BMP:
        return _Opened(open_bmp(file))
    if source is Format.ICO:
        image = open_icon(file)
        return _Opened(image, colours=_embedded(image))
    if source in (Format.AVIF, Format.HEIC):
        return _opened_heif(file, source)
    if known.notes is None:
        image = Image.open(file, formats=DECODERS[source])
        told = (ResultWarning(code=WarningCode.GAIN_MAP_DROPPED, detail=GAIN_MAP_DROPPED),)
        return _Opened(image, colours=_embedded(image), warnings=told if _names_gain_map(image) else ())
    image, still = open_png(file, known.notes)
    warnings = []
    if still:
        warnings.append(
            ResultWarning(
                code=WarningCode.FRAMES_DROPPED, detail="the animation is damaged; its still picture was used"
            )
        )
    if colours := damaged_colours(known.notes):
        detail = f"{' and '.join(colours)} of the upload are damaged; its colours are taken as if they were not there"
        warnings.append(ResultWarning(code=WarningCode.PROFILE_UNUSABLE, detail=detail))
    return _Opened(image, colours=colours_of_png(image, known.notes), warnings=tuple(warnings))


def _embedded(image: Image.Image) -> Colours:
    return Colours(image.info.get("icc_profile") or None)


def _names_gain_map(image: Image.Image) -> bool:
    """Return whether a JPEG says that it has a gain map: Ultra HDR, ISO 21496-1, or Apple's."""
    packet = image.info.get("xmp", b"")
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    used = (re.search(rb"[<\s]" + prefix + rb":\w", packet) for prefix in _GAIN_MAPS.findall(packet))
    return any(used) or any(content.startswith(_ISO_GAIN_MAP) for _, content in getattr(image, "applist", ()))


def _opened_heif(file: BinaryIO, source: Format) -> _Opened:
    properties, warnings = read_properties(file), []
    numbers = properties.cicp
    if source is Format.AVIF:
        properties.check_matrix()
        numbers = properties.cicp_of_8_bits
    image = Image.open(file, formats=DECODERS[source])
    across, down = properties.pixel_shape
    if across != down:
        detail = f"a pixel of the upload is {across} wide and {down} high; the result has square ones, as many"
        warnings.append(ResultWarning(code=WarningCode.PIXELS_NOT_SQUARE, detail=detail))
    if properties.gain_map:
        warnings.append(ResultWarning(code=WarningCode.GAIN_MAP_DROPPED, detail=GAIN_MAP_DROPPED))
    colours = _embedded(image) if image.info.get("icc_profile") else colours_by_cicp(numbers)
    if colours.unknown:
        detail = f"the upload's colours are by {colours.unknown}; sRGB is assumed"
        warnings.append(ResultWarning(code=WarningCode.PROFILE_UNUSABLE, detail=detail))
    # libheif cuts to the visible part itself, libavif does not.
    window = properties.visible_part(image.size) if source is Format.AVIF else None
    return _Opened(image, colours=colours, window=window, warnings=tuple(warnings))


@dataclass(frozen=True)
class _Known:
    """What is known of a file before Pillow opens it."""

    notes: Notes | None = None
    patches: tuple[FramePatch, ...] = ()
    pages: int = 0


def _check_before(file: BinaryIO, source: Format, limits: PictureLimits) -> _Known:
    """Check what would take Pillow long when it opens the file. Rewinds the file. Raises PictureRefused."""
    known = _Known()
    match source:
        case Format.JPEG:
            check_markers(file)
        case Format.PNG:
            known = _Known(notes=look_through(file))
        case Format.GIF:
            known = _Known(patches=read_gif(file.read(), limits.frames))
        case Format.TIFF:
            known = _Known(pages=count_pages(file, limits.frames))
        case Format.WEBP:
            check_pixels(webp_canvas(file), limits, "the picture")  # libwebp allocates it when it is opened
        case Format.BMP:
            check_runs(file)
        case Format.ICO:
            for size in picture_sizes(file):
                check_pixels(size, limits, "a picture")
    file.seek(0)
    return known


@cache
def configure_decoders() -> None:
    """Set up Pillow once in a process: HEIC, and one core for each decoder. Size limits are `open_picture`'s."""
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own check names neither the limit nor the size
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own decoder takes planes and subsampled colours for others
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)


def _png_patches(image: Image.Image, file: BinaryIO, source: Format, limits: PictureLimits) -> tuple[FramePatch, ...]:
    """Return the frames of an animated PNG; none for everything else."""
    if source is not Format.PNG or not (getattr(image, "is_animated", False) or "default_image" in image.info):
        return ()
    file.seek(0)
    return read_apng(file.read(), limits.frames)


def _count_frames(image: Image.Image, source: Format, known: tuple[FramePatch, ...] | int, most: int) -> int:
    """Count frames or pages. Raises PictureRefused past `most`."""
    if known:
        frames = known if isinstance(known, int) else len(known)
    elif source in (Format.GIF, Format.PNG):
        frames = 1  # its frames are damaged; the first picture may be whole
    else:
        frames = int(getattr(image, "n_frames", 1))
    at_most(most, frames, "frames", FailureCode.TOO_MANY_FRAMES)
    return frames


def _orientation(image: Image.Image, source: Format) -> int:
    """Read it from EXIF alone: Pillow also looks in XMP, as no other program does."""
    block = image.info.get("exif") or b""
    if len(block) > _MOST_EXIF:
        return UPRIGHT
    try:
        if source in _EXIF_IN_A_BLOCK:
            exif = Image.Exif()
            exif.load(block)
        else:
            exif = image.getexif()
        found = exif.get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001  EXIF that cannot be read says nothing; the picture itself may be whole
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT  # noqa: PLR2004  EXIF's eight
