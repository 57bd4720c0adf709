"""The upload's metadata: what is kept of them, for all formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from img_contract.job.choices import Metadata
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from PIL import ExifTags, Image

from img_engine.render.orientation import UPRIGHT
from img_engine.render.picture import ResultPlan, Upload
from img_engine.render.writing import iptc as iim
from img_engine.render.writing import xmp
from img_engine.render.writing.gif_xmp import read_xmp
from img_engine.render.writing.panorama import describes_panorama, scaled
from img_engine.render.writing.xmp_extended import with_extension

SEGMENT_BYTES: Final = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")
"""Bytes that a JPEG's segment holds beside its longest name; longer EXIF or XMP cannot be written."""

MOST_BYTES: Final = 1024 * 1024
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
    iim.IPTC_TAG,  # which is kept beside EXIF
    iim.PHOTOSHOP_TAG,
)
"""TIFF tags that describe how the old file was stored; they would be false in the new one."""

_NAMED_IF_LOST: Final = {
    0x935C: "Photoshop's layers",
    **dict.fromkeys((0x830E, 0x8482, 0x85D8, *range(0x87AF, 0x87B2)), "georeference"),
}
"""Tags of a TIFF that depict the old picture, or say where on earth its pixels are."""

_KNOWN_SEGMENTS: Final = (
    *(b"JFIF", b"JFXX", b"Exif", b"ICC_PROFILE", b"MPF", b"Photoshop 3.0", b"Adobe"),
    *(b"http://ns.adobe.com/x", b"urn:iso:std:iso:ts:21496"),
)
"""What the segments of a JPEG begin with that are read here."""

_NAMES: Final = {"creator": ExifTags.Base.Artist, "rights": ExifTags.Base.Copyright}

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
    authors: dict[str, str] | None = None
    """Creator, credit and rights, if only they are to be kept."""
    lost: tuple[str, ...] = ()
    """What no result can have, by name."""


def read_metadata(upload: Upload, options: Resize) -> KeptMetadata:
    """Read what is to be kept, with the orientation upright, and without what depicts the old file or points into it.

    What cannot be read is not kept.
    """
    if options.metadata is Metadata.STRIP:
        return KeptMetadata()
    image = upload.image
    iptc, packet = iim.read_iptc(upload), _xmp(upload)
    # What is too long is not parsed; it is reported as lost.
    packet, too_much = (b"", ["XMP, which is too long"]) if xmp.too_long(packet) else (packet, [])
    block = image.info.get("exif") or b""
    if options.metadata is Metadata.COPYRIGHT:
        exif = b"" if len(block) > MOST_BYTES else _authors(image)
        packet, iptc = xmp.of_the_author(packet), iim.of_the_author(iptc)
        return KeptMetadata(exif, packet, iptc, authors=_named(exif) | iim.names(iptc), lost=tuple(too_much))
    exif, lost = (block, []) if len(block) > MOST_BYTES else _exif(image)
    packet, untrue = xmp.true_of_the_result(packet)
    lost = [*lost, *too_much, *untrue, *_beside(upload)]
    return KeptMetadata(exif, packet, iptc, _comment(image), _resolution(image), lost=tuple(dict.fromkeys(lost)))


def of_result(kept: KeptMetadata, plan: ResultPlan, upload: Upload) -> KeptMetadata:
    """Return what is true of one result: the sizes of a panorama are scaled with it, unless it is cut or turned."""
    if not describes_panorama(kept.xmp):
        return kept
    (width, height), (across, down) = upload.stored, plan.sizes.scaled
    whole = upload.region == (0, 0, width, height) and plan.sizes.scaled == plan.sizes.canvas
    upright = upload.orientation == UPRIGHT
    packet, complete = scaled(kept.xmp, (across / width, down / height) if whole and upright else None)
    return replace(kept, xmp=packet, lost=kept.lost if complete else (*kept.lost, "panorama"))


def _xmp(upload: Upload) -> bytes:
    """Return the packet; of a JPEG, with what is in further segments."""
    image = upload.image
    if upload.format is Format.GIF:
        return read_xmp(upload.file)
    packet = image.info.get("xmp", b"")
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    segments = [content for name, content in getattr(image, "applist", ()) if name == "APP1"]
    return with_extension(packet, segments)


def _beside(upload: Upload) -> list[str]:
    """Return the names of what the file has beside EXIF, XMP and IPTC, none of which is kept."""
    lost = ["Photoshop's resources"] if iim.has_other_resources(upload) else []
    others = {name for name, content in getattr(upload.image, "applist", ()) if not content.startswith(_KNOWN_SEGMENTS)}
    others.discard("COM")
    return [*lost, *(f"segment {name}" for name in sorted(others))]


def _authors(image: Image.Image) -> bytes:
    try:
        return _only(image.getexif(), tuple(_NAMES.values()))
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        return b""


def _exif(image: Image.Image) -> tuple[bytes, list[str]]:
    """Return EXIF without what is of the old file, and the names of what was lost."""
    lost: list[str] = []
    try:
        exif = image.getexif()
        lost += [name for tag, name in _NAMED_IF_LOST.items() if tag in exif]
        for tag in {*_OF_THE_FILE, *_NAMED_IF_LOST} & set(exif):  # without a look at their values
            del exif[tag]
        if ExifTags.IFD.Exif in exif:
            details = exif.get_ifd(ExifTags.IFD.Exif)
            for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                details.pop(tag, None)
            note = details.get(ExifTags.Base.MakerNote)
            if isinstance(note, bytes) and _JPEG_BEGINS in note:  # a preview of the old picture
                details.pop(ExifTags.Base.MakerNote)
                lost.append("maker note with a preview")
        exif.bigtiff = False  # no EXIF is one, even if it comes from one
        return exif.tobytes() if len(exif) else b"", lost
    except Exception:  # noqa: BLE001  EXIF that cannot be read cannot be kept; the picture itself may be whole
        return b"", [*lost, "EXIF, which is damaged"]


def _comment(image: Image.Image) -> str:
    """Return the comment of a JPEG or a GIF, or the texts of a PNG."""
    stored = image.info.get("comment") if image.format in ("JPEG", "MPO", "GIF") else None
    if isinstance(stored, bytes):
        return stored[:SEGMENT_BYTES].decode(errors="replace")
    texts = [
        f"{name}: {text}" if name != "Comment" else str(text)
        for name, text in image.info.items()
        if image.format == "PNG" and isinstance(text, str) and not str(name).startswith(_NO_COMMENT)
    ]
    return "\n".join(texts)[:SEGMENT_BYTES]


def _resolution(image: Image.Image) -> tuple[int, int] | None:
    found: Any = image.info.get("dpi") if image.format in ("JPEG", "MPO", "PNG", "BMP", "DIB") else None
    try:
        across, down = (round(float(number)) for number in found)
    except (TypeError, ValueError, OverflowError):
        return None
    return (across, down) if 0 < across < _SHORT and 0 < down < _SHORT else None


def _only(exif: Image.Exif, tags: tuple[int, ...]) -> bytes:
    chosen = Image.Exif()
    for tag in tags:
        if exif.get(tag):
            chosen[tag] = exif[tag]
    return chosen.tobytes() if len(chosen) else b""


def _named(block: bytes) -> dict[str, str]:
    """Return creator and rights by EXIF."""
    exif = Image.Exif()
    exif.load(block)
    texts = {name: str(exif.get(tag, "")).strip("\0 ") for name, tag in _NAMES.items()}
    return {name: "".join(letter for letter in text if letter.isprintable()) for name, text in texts.items() if text}
