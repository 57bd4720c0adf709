"""From a finished picture to the bytes of a file, with the metadata that is to be kept."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, Final

from img_contract.job import Metadata, Resize
from img_contract.outcome import WarningCode
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from .formats import Encoder, to_palette
from .picture import OPAQUE, Picture

_SEGMENT_BYTES: Final = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")
"""What a JPEG's segment holds beside its longest name; longer EXIF or XMP cannot be written."""

_OF_THE_FILE: Final = (
    *range(0x00FE, 0x0107),  # sizes, bits, compression and photometric interpretation of the pixels
    *range(0x0111, 0x011A),  # strips, and the orientation, which is applied
    0x011C,  # planar configuration
    *range(0x0140, 0x0160),  # palettes, tiles, sub-files, inks, extra samples
    0x0200,
    0x0201,  # JPEG tables and the thumbnail
    0x0202,
    0x02BC,  # XMP, which is kept beside EXIF
    0x8773,  # the ICC profile, which is applied
)
"""TIFF tags that describe how the old file was stored; they would be false in the new one."""

_XMP_ORIENTATION: Final = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')


@dataclass(frozen=True)
class KeptMetadata:
    """What was read from the upload, to be written to the result."""

    exif: bytes = b""
    xmp: bytes = b""


def read_metadata(picture: Picture, ask: Resize) -> KeptMetadata:
    """The upload's EXIF and XMP, upright now; nothing unless it is to be kept, or if it cannot be read."""
    if ask.metadata is not Metadata.KEEP:
        return KeptMetadata()
    xmp = picture.image.info.get("xmp", b"")
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    try:
        exif = picture.image.getexif()
        for tag in _OF_THE_FILE:
            exif.pop(tag, None)
        if ExifTags.IFD.Exif in exif:
            details = exif.get_ifd(ExifTags.IFD.Exif)
            for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                details.pop(tag, None)
        written = exif.tobytes() if len(exif) else b""
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        written = b""
    return KeptMetadata(written, _XMP_ORIENTATION.sub(rb"\g<1>1", xmp))


def encode(picture: Picture, ask: Resize, kept: KeptMetadata) -> tuple[bytes, Picture]:
    """The file's bytes, and the picture with a warning of what the format could not hold."""
    image = picture.image
    if picture.encoder.pillow == "GIF":
        image, picture = _for_gif(image, picture)
    elif image.mode not in picture.encoder.modes:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.info = {}  # Pillow would carry some of it over by itself: a comment, a resolution
    options, lost = _metadata_options(picture.encoder, kept)
    if lost:
        detail = f"{picture.encoder.pillow.lower()} cannot hold the upload's {' and '.join(lost)}"
        picture = picture.warned(WarningCode.METADATA_DROPPED, detail)
    buffer = io.BytesIO()
    image.save(buffer, picture.encoder.pillow, **picture.encoder.options(ask), **options)
    return buffer.getvalue(), picture


def _for_gif(image: Image.Image, picture: Picture) -> tuple[Image.Image, Picture]:
    if image.mode == "RGBA" and any(image.getchannel("A").histogram()[1:OPAQUE]):
        picture = picture.warned(
            WarningCode.ALPHA_FLATTENED, "gif holds no partial transparency; each pixel was made opaque or transparent"
        )
    return to_palette(image), picture


def _metadata_options(encoder: Encoder, kept: KeptMetadata) -> tuple[dict[str, Any], list[str]]:
    """Save options that write the metadata, and the names of what the format cannot hold."""
    options: dict[str, Any] = {}
    lost = []
    most = {"JPEG": _SEGMENT_BYTES, "GIF": 0}.get(encoder.pillow, len(kept.exif) + len(kept.xmp))
    if len(kept.exif) > most:
        lost.append("EXIF")
    elif kept.exif:
        options["exif"] = kept.exif
    if len(kept.xmp) > most:
        lost.append("XMP")
    elif kept.xmp and encoder.pillow == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", kept.xmp.decode(errors="replace"))
    elif kept.xmp:
        options["xmp"] = kept.xmp
    return options, lost
