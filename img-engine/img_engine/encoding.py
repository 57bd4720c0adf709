"""From a finished picture to the bytes of a file."""

from __future__ import annotations

import io
from typing import Any

from img_contract.job import Metadata, Resize
from img_contract.outcome import WarningCode
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from .formats import to_palette
from .picture import Picture


def encode(picture: Picture, ask: Resize, original: Image.Image) -> tuple[bytes, Picture]:
    """The file's bytes. `original`: the image as it was opened, for the metadata that is to be kept.

    Metadata is written only when asked for: Pillow would carry some of it (a comment, a resolution) over by itself.
    """
    image = picture.image.copy()
    image.info = {}
    if picture.encoder.pillow == "GIF":
        image = to_palette(image)
    elif image.mode not in picture.encoder.modes:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    options = picture.encoder.options(ask)
    if ask.metadata is Metadata.KEEP:
        kept, picture = _kept(picture, original)
        options |= kept
    buffer = io.BytesIO()
    image.save(buffer, picture.encoder.pillow, **options)
    return buffer.getvalue(), picture


def _kept(picture: Picture, original: Image.Image) -> tuple[dict[str, Any], Picture]:
    """Save options that carry EXIF (upright now) and XMP over, and a warning of what cannot be carried."""
    exif = original.getexif()
    exif.pop(ExifTags.Base.Orientation, None)
    xmp = original.info.get("xmp")
    options: dict[str, Any] = {}
    lost = []
    if picture.encoder.pillow in ("JPEG", "PNG", "WEBP", "AVIF"):
        if len(exif):
            options["exif"] = exif.tobytes()
    elif len(exif):
        lost.append("EXIF")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp and picture.encoder.pillow in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = xmp
    elif xmp and picture.encoder.pillow == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
        options["pnginfo"] = info
    elif xmp:
        lost.append("XMP")
    if lost:
        detail = f"{picture.encoder.pillow.lower()} cannot hold the upload's {' and '.join(lost)}"
        picture = picture.warned(WarningCode.METADATA_DROPPED, detail)
    return options, picture
