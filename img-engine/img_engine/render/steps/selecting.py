"""Selecting the part of the upload that is used, before anything is scaled."""

from __future__ import annotations

from dataclasses import replace

from img_contract.job.outcome import FailureCode, WarningCode
from img_contract.job.resize import Resize
from PIL import Image, ImageChops

from img_engine.render.memory import check_room
from img_engine.render.orientation import as_stored, turned
from img_engine.render.picture import Upload
from img_engine.render.picture_faults import PictureRefused
from img_engine.render.reading.decoding import first_frame


def turn(upload: Upload, options: Resize) -> Upload:
    """Combine the turns and mirrors of the options with the EXIF orientation; no pixel is moved yet."""
    from_exif = upload.exif_orientation
    return replace(upload, orientation=turned(from_exif, options.rotate, flip=options.flip, flop=options.flop))


def crop_source(upload: Upload, options: Resize) -> Upload:
    """Use only the part that `crop` names, in pixels of the upright picture; what is beyond its edge is left out."""
    if options.crop is None:
        return upload
    width, height = upload.facts.width, upload.facts.height
    left, top = options.crop.x, options.crop.y
    if left >= width or top >= height:
        raise PictureRefused(
            FailureCode.CROP_OUTSIDE,
            f"expected a crop that begins within the picture's {width} × {height} pixels, found one at {left}, {top}",
        )
    right, bottom = min(left + options.crop.width, width), min(top + options.crop.height, height)
    found = (right - left, bottom - top)
    if found != (options.crop.width, options.crop.height):
        upload = upload.warned(
            WarningCode.CROP_CLIPPED,
            f"the crop reaches over the edge of the picture's {width} × {height} pixels; {found[0]} × {found[1]} of it "
            "lie within",
        )
    return replace(upload, region=as_stored((left, top, right, bottom), upload.stored, upload.exif_orientation))


def trim(upload: Upload, options: Resize) -> Upload:
    """Cut off the border whose colour differs from the top left pixel by at most `trim`. Decodes the whole picture."""
    tolerance = options.trim
    if tolerance is None:
        return upload
    check_room(upload, upload.image.size)
    part = first_frame(upload).crop(upload.region)
    if part.mode == "RGBA":
        part = part.convert("RGBa")  # invisible pixels all become one colour
    # The corner that is top left when the picture is seen upright.
    x, y, _, _ = as_stored((0, 0, 1, 1), part.size, upload.exif_orientation)
    border = Image.new(part.mode, part.size, part.getpixel((x, y)))
    beyond = ImageChops.difference(part, border).point(lambda difference: 255 if difference > tolerance else 0)
    box = beyond.getbbox(alpha_only=False)
    if box is None:
        return upload.warned(WarningCode.PARAMETER_UNUSED, "trim has no effect: the picture is of one colour")
    left, top, _, _ = upload.region
    return replace(upload, region=(box[0] + left, box[1] + top, box[2] + left, box[3] + top))
