"""The upload's EXIF and XMP: what is kept, and how each format stores it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from img_contract.job.choices import Metadata
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from img_engine.render.formats import Encoder

_SEGMENT_BYTES: Final = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")
"""Bytes that a JPEG's segment holds beside its longest name; longer EXIF or XMP cannot be written."""

_MOST_BYTES: Final = 1024 * 1024
"""Longer EXIF or XMP is not kept in any format: decoders refuse files that have it."""

_OF_THE_FILE: Final = (
    *range(0x00FE, 0x0107),  # sizes, bits, compression and photometric interpretation of the pixels
    *range(0x0111, 0x011A),  # strips, and the orientation, which is applied
    0x011C,  # planar configuration
    0x013D,  # predictor
    *range(0x0140, 0x0160),  # palettes, tiles, sub-files, inks, extra samples
    0x0200,
    0x0201,  # JPEG tables and the thumbnail
    0x0202,
    0x02BC,  # XMP, which is kept beside EXIF
    0x8773,  # the ICC profile, which is applied
)
"""TIFF tags that describe how the old file was stored; they would be false in the new one."""

_OF_THE_AUTHOR: Final = (ExifTags.Base.Artist, ExifTags.Base.Copyright)

_PREDICTOR: Final = 317
_XMP: Final = 700

_XMP_ORIENTATION: Final = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')


@dataclass(frozen=True)
class KeptMetadata:
    """The metadata of the upload that the results will have."""

    exif: bytes = b""
    xmp: bytes = b""


def read_metadata(image: Image.Image, options: Resize) -> KeptMetadata:
    """Read the EXIF and XMP to keep, with the orientation upright; nothing if it cannot be read."""
    if options.metadata is Metadata.STRIP:
        return KeptMetadata()
    block = image.info.get("exif") or b""
    if len(block) > _MOST_BYTES:  # not parsed, which would take seconds; it is reported as lost
        return KeptMetadata(block)
    try:
        exif = image.getexif()
        if options.metadata is Metadata.COPYRIGHT:
            return KeptMetadata(_only(exif, _OF_THE_AUTHOR))
        for tag in _OF_THE_FILE:
            exif.pop(tag, None)
        if ExifTags.IFD.Exif in exif:
            details = exif.get_ifd(ExifTags.IFD.Exif)
            for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                details.pop(tag, None)
        written = exif.tobytes() if len(exif) else b""
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        written = b""
    if options.metadata is Metadata.COPYRIGHT:
        return KeptMetadata()
    xmp = image.info.get("xmp", b"")
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return KeptMetadata(written, _XMP_ORIENTATION.sub(rb"\g<1>1", xmp))


def metadata_options(encoder: Encoder, kept: KeptMetadata) -> tuple[dict[str, Any], list[str]]:
    """Return the save options that write the metadata, and the names of what the format cannot hold."""
    options: dict[str, Any] = {}
    lost: list[str] = []
    if encoder.format is Format.TIFF:  # see tiff_tags
        return options, [name for name, block in (("EXIF", kept.exif), ("XMP", kept.xmp)) if len(block) > _MOST_BYTES]
    most = {Format.JPEG: _SEGMENT_BYTES, Format.GIF: 0}.get(encoder.format, _MOST_BYTES)
    if len(kept.exif) > most:
        lost.append("EXIF")
    elif kept.exif:
        options["exif"] = kept.exif.removeprefix(b"Exif\0\0") if encoder.format is Format.WEBP else kept.exif
    if len(kept.xmp) > most:
        lost.append("XMP")
    elif kept.xmp and encoder.format is Format.PNG:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", kept.xmp.decode(errors="replace"))
    elif kept.xmp:
        options["xmp"] = kept.xmp
    return options, lost


def tiff_tags(kept: KeptMetadata) -> dict[str, Any]:
    """Return the save options for TIFF, where metadata are tags beside those of the pixels."""
    exif = Image.Exif()
    if len(kept.exif) <= _MOST_BYTES:
        exif.load(kept.exif)
    exif[_PREDICTOR] = 2  # horizontal differencing (TIFF 6.0, section 14)
    if 0 < len(kept.xmp) <= _MOST_BYTES:
        exif[_XMP] = kept.xmp
    nested = any(tag in exif for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    # libtiff cannot be given nested directories; Pillow's own writer takes them, but does not compress.
    return {"exif": exif, "compression": "raw"} if nested else {"exif": exif}


def _only(exif: Image.Exif, tags: tuple[int, ...]) -> bytes:
    chosen = Image.Exif()
    for tag in tags:
        if exif.get(tag):
            chosen[tag] = exif[tag]
    return chosen.tobytes() if len(chosen) else b""
