"""The upload's metadata: what is kept, and how each format stores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from img_contract.job.choices import Metadata
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from img_engine.render.formats import Encoder
from img_engine.render.writing import xmp
from img_engine.render.writing.iptc import iptc_segment, read_iptc
from img_engine.render.writing.iptc import of_the_author as authors_iptc

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

_NO_COMMENT: Final = ("XML:com.adobe.xmp", "Raw profile type", "xmp", "exif")
_SHORT: Final = 2**16
_JPEG_BEGINS: Final = b"\xff\xd8\xff"


@dataclass(frozen=True)
class KeptMetadata:
    """The metadata of the upload that the results will have."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    comment: str = ""
    resolution: tuple[int, int] | None = None
    """Pixels per inch, across and down."""
    lost: tuple[str, ...] = ()
    """What no result can have, by name."""


def read_metadata(image: Image.Image, options: Resize) -> KeptMetadata:
    """Read what is to be kept, with the orientation upright, and without what depicts the old file or points into it.

    What cannot be read is not kept.
    """
    if options.metadata is Metadata.STRIP:
        return KeptMetadata()
    iptc = read_iptc(image.info.get("photoshop"))
    packet = image.info.get("xmp", b"")
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    long = len(packet) > _MOST_BYTES
    block = image.info.get("exif") or b""
    if options.metadata is Metadata.COPYRIGHT:
        exif = block if len(block) > _MOST_BYTES else _authors(image)
        return KeptMetadata(exif, b"" if long else xmp.of_the_author(packet), authors_iptc(iptc))
    # What is too long is not parsed, which would take seconds; it is reported as lost.
    exif, lost = (block, []) if len(block) > _MOST_BYTES else _exif(image)
    packet, untrue = (packet, []) if long else xmp.true_of_the_result(packet)
    return KeptMetadata(exif, packet, iptc, _comment(image), _resolution(image), (*lost, *untrue))


def _authors(image: Image.Image) -> bytes:
    try:
        return _only(image.getexif(), _OF_THE_AUTHOR)
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        return b""


def _exif(image: Image.Image) -> tuple[bytes, list[str]]:
    """Return EXIF without what is of the old file, and the names of what was lost."""
    lost = []
    try:
        exif = image.getexif()
        for tag in _OF_THE_FILE:
            exif.pop(tag, None)
        if ExifTags.IFD.Exif in exif:
            details = exif.get_ifd(ExifTags.IFD.Exif)
            for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                details.pop(tag, None)
            note = details.get(ExifTags.Base.MakerNote)
            if isinstance(note, bytes) and _JPEG_BEGINS in note:  # a preview of the old picture
                details.pop(ExifTags.Base.MakerNote)
                lost.append("maker note, which has a preview,")
        return exif.tobytes() if len(exif) else b"", lost
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        return b"", lost


def _comment(image: Image.Image) -> str:
    """Return the comment of a JPEG or a GIF, or the texts of a PNG."""
    stored = image.info.get("comment") if image.format in ("JPEG", "MPO", "GIF") else None
    if isinstance(stored, bytes):
        return stored[:_SEGMENT_BYTES].decode(errors="replace")
    texts = [
        f"{name}: {text}" if name != "Comment" else str(text)
        for name, text in image.info.items()
        if image.format == "PNG" and isinstance(text, str) and not str(name).startswith(_NO_COMMENT)
    ]
    return "\n".join(texts)[:_SEGMENT_BYTES]


def _resolution(image: Image.Image) -> tuple[int, int] | None:
    found: Any = image.info.get("dpi") if image.format in ("JPEG", "MPO", "PNG") else None
    try:
        across, down = (round(float(number)) for number in found)
    except (TypeError, ValueError, OverflowError):
        return None
    return (across, down) if 0 < across < _SHORT and 0 < down < _SHORT else None


def metadata_options(encoder: Encoder, kept: KeptMetadata) -> tuple[dict[str, Any], list[str]]:
    """Return the save options that write the metadata, and the names of what the format cannot hold."""
    options: dict[str, Any] = {}
    lost: list[str] = []
    _add_short(encoder.format, kept, options, lost)
    if encoder.format is Format.TIFF:  # see tiff_tags
        lost += [name for name, block in (("EXIF", kept.exif), ("XMP", kept.xmp)) if len(block) > _MOST_BYTES]
        return options, lost
    most = {Format.JPEG: _SEGMENT_BYTES, Format.GIF: 0}.get(encoder.format, _MOST_BYTES)
    if len(kept.exif) > most:
        lost.append("EXIF")
    elif kept.exif:
        options["exif"] = kept.exif.removeprefix(b"Exif\0\0") if encoder.format is Format.WEBP else kept.exif
    if len(kept.xmp) > most:
        lost.append("XMP")
    elif kept.xmp and encoder.format is Format.PNG:
        options.setdefault("pnginfo", PngInfo()).add_itxt("XML:com.adobe.xmp", kept.xmp.decode(errors="replace"))
    elif kept.xmp:
        options["xmp"] = kept.xmp
    return options, lost


def _add_short(to: Format, kept: KeptMetadata, options: dict[str, Any], lost: list[str]) -> None:
    """Add IPTC, comment and resolution, where the format has a place for them."""
    if kept.iptc:
        segment = iptc_segment(kept.iptc) if to is Format.JPEG else None
        if segment is None:
            lost.append("IPTC")
        else:
            options["extra"] = segment
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
