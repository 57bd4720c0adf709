"""What changes the look of a result, and none of its size."""

from __future__ import annotations

from img_contract.job.resize import Resize
from PIL import Image, ImageFilter

from img_engine.render.geometry import inside, offset
from img_engine.render.picture import Picture


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
    """Blur with a Gaussian."""
    return picture if ask.blur is None else picture.having(_blurred(picture.image, ask.blur))


def sharpen(picture: Picture, ask: Resize) -> Picture:
    """Sharpen with an unsharp mask: what sets a pixel off from those around it, once more. Alpha stays as it is."""
    image = picture.image
    if ask.sharpen is None:
        return picture
    around = _blurred(image, ask.sharpen)
    if image.mode != "RGBA":
        return picture.having(Image.blend(around, image, 2.0))
    sharp = Image.blend(around.convert("RGB"), image.convert("RGB"), 2.0)
    sharp.putalpha(image.getchannel("A"))
    return picture.having(sharp)


def _blurred(image: Image.Image, sigma: float) -> Image.Image:
    """L, RGB or RGBA; alpha premultiplied, so that what is invisible tints nothing."""
    gaussian = ImageFilter.GaussianBlur(sigma)
    if image.mode == "RGBA":
        return image.convert("RGBa").filter(gaussian).convert("RGBA")
    return image.filter(gaussian)


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
