"""How each format stores the metadata that are kept, and what it cannot hold."""

from __future__ import annotations

from typing import Any, Final

from img_contract.job.formats import Format
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from img_engine.render.formats import Encoder
from img_engine.render.writing.iptc import IPTC_TAG, iptc_segment, iptc_text
from img_engine.render.writing.metadata import MOST_BYTES, SEGMENT_BYTES, KeptMetadata
from img_engine.render.writing.xmp import with_names
from img_engine.render.writing.xmp_extended import xmp_segments

_PREDICTOR: Final = 317
_XMP: Final = 700
_UNDEFINED: Final = 7

_HOLD_IPTC: Final = frozenset({Format.JPEG, Format.PNG, Format.TIFF})
_MOST_EXIF: Final = {Format.JPEG: SEGMENT_BYTES, Format.GIF: 0}


def metadata_options(encoder: Encoder, kept: KeptMetadata) -> tuple[dict[str, Any], list[str]]:
    """Return the save options that write the metadata, and the names of what the format cannot hold.

    A GIF's XMP is not written by its encoder, see `with_xmp`.
    """
    options: dict[str, Any] = {}
    lost: list[str] = []
    to = encoder.format
    if len(kept.exif) > _MOST_EXIF.get(to, MOST_BYTES):
        lost.append("EXIF")
    elif kept.exif and to is not Format.TIFF:  # see tiff_tags
        options["exif"] = kept.exif.removeprefix(b"Exif\0\0") if to is Format.WEBP else kept.exif
    _add_iptc(to, kept, options, lost)
    packet = kept.xmp
    if lost and kept.authors:  # of their EXIF and IPTC, only the names were to be kept
        packet, lost = with_names(packet, kept.authors), []
    _add_xmp(to, packet, options, lost)
    _add_short(to, kept, options, lost)
    return options, lost


def _add_iptc(to: Format, kept: KeptMetadata, options: dict[str, Any], lost: list[str]) -> None:
    if not kept.iptc:
        return
    segment = iptc_segment(kept.iptc) if to in _HOLD_IPTC else None
    if segment is None:
        lost.append("IPTC")
    elif to is Format.JPEG:
        options["extra"] = segment
    elif to is Format.PNG:
        keyword, text = iptc_text(kept.iptc)
        options.setdefault("pnginfo", PngInfo()).add_text(keyword, text, zip=True)


def _add_xmp(to: Format, packet: bytes, options: dict[str, Any], lost: list[str]) -> None:
    if not packet:
        return
    if to is Format.PNG:
        options.setdefault("pnginfo", PngInfo()).add_itxt("XML:com.adobe.xmp", packet.decode(errors="replace"))
    elif to is Format.JPEG:
        segments = xmp_segments(packet)
        if segments is None:
            lost.append("XMP")
        else:
            options["extra"] = options.get("extra", b"") + segments
    else:
        options["xmp"] = packet


def _add_short(to: Format, kept: KeptMetadata, options: dict[str, Any], lost: list[str]) -> None:
    """Add comment and resolution, where the format has a place for them."""
    if kept.comment and to in (Format.JPEG, Format.GIF):
        options["comment"] = kept.comment
    elif kept.comment and to is Format.PNG:
        options.setdefault("pnginfo", PngInfo()).add_itxt("Comment", kept.comment)
    elif kept.comment:
        lost.append("comment")
    if kept.resolution and to in (Format.JPEG, Format.PNG, Format.TIFF):
        options["dpi"] = kept.resolution
    elif kept.resolution:
        lost.append("resolution")


def tiff_tags(kept: KeptMetadata, packet: bytes) -> dict[str, Any]:
    """Return the save options for TIFF, where metadata are tags beside those of the pixels. `packet`: the XMP."""
    exif = Image.Exif()
    if len(kept.exif) <= MOST_BYTES:
        exif.load(kept.exif)
    exif[_PREDICTOR] = 2  # horizontal differencing (TIFF 6.0, section 14)
    if packet:
        exif[_XMP] = packet
    if kept.iptc:
        exif[IPTC_TAG] = kept.iptc
    nested = any(tag in exif for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    # libtiff cannot be given nested directories; Pillow's own writer takes them, but does not compress.
    return {"exif": exif, "compression": "raw"} if nested else {"exif": exif}
