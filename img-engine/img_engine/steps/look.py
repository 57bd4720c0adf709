"""What changes the look of a result, and none of its size."""

from __future__ import annotations

from img_contract.resize import Resize
from PIL import Image, ImageFilter

from img_engine.geometry import inside, offset
from img_engine.picture import Picture


def grayscale(picture: Picture, ask: Resize) -> Picture:
    """Drop the colours: L, or RGBA of equal channels."""
    image = picture.image
    if not ask.grayscale or image.mode == "L":
        return picture
    grey = image.convert("L")
    if image.mode == "RGBA":
        grey = Image.merge("RGBA", (grey, grey, grey, image.getchannel("A")))
    return picture.having(grey)


def blur(picture: Picture, ask: Resize) -> Picture:
    """Blur with a Gaussian, alpha premultiplied, so that what is invisible tints nothing."""
    image = picture.image
    if ask.blur is None:
        return picture
    gaussian = ImageFilter.GaussianBlur(ask.blur)
    if image.mode == "RGBA":
        return picture.having(image.convert("RGBa").filter(gaussian).convert("RGBA"))
    return picture.having(image.filter(gaussian))


def sharpen(picture: Picture, ask: Resize) -> Picture:
    """Sharpen the colours with an unsharp mask; alpha stays as it is."""
    image = picture.image
    if ask.sharpen is None:
        return picture
    mask = ImageFilter.UnsharpMask(radius=ask.sharpen, percent=100, threshold=0)
    if image.mode == "RGBA":
        sharp = image.convert("RGB").filter(mask)
        sharp.putalpha(image.getchannel("A"))
        return picture.having(sharp)
    return picture.having(image.filter(mask))


def watermark(picture: Picture, ask: Resize) -> Picture:
    """Put the watermark on the result: within a share of its size, where its gravity says."""
    image, stamp = picture.image, picture.stamp
    if stamp is None:
        return picture
    box = tuple(max(1, round(side * ask.watermark_scale)) for side in image.size)
    size = inside(stamp.size, (box[0], box[1]))
    stamp = stamp.resize(size, Image.Resampling.LANCZOS)
    if ask.watermark_opacity < 1:
        stamp.putalpha(stamp.getchannel("A").point(lambda alpha: round(alpha * ask.watermark_opacity)))
    stamped = image.convert("RGBA")
    stamped.alpha_composite(stamp, offset(size, image.size, ask.watermark_gravity))
    return picture.having(stamped if image.mode == "RGBA" else stamped.convert("RGB"))
