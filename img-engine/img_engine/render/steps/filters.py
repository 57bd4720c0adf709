"""Filters and the watermark: what changes the pixels of a result, but not its size."""

from __future__ import annotations

from img_contract.job.resize import Resize
from PIL import Image, ImageFilter

from img_engine.render.geometry import inside, offset
from img_engine.render.icc import from_srgb
from img_engine.render.picture import Picture


def grayscale(picture: Picture, options: Resize) -> Picture:
    """Drop the colours: L, or RGBA of equal channels."""
    image = picture.image
    if not options.grayscale or image.mode == "L":
        return picture
    grey = image.convert("L")
    if image.mode == "RGBA":
        grey = Image.merge("RGBA", (grey, grey, grey, image.getchannel("A")))
    return picture.having(grey)


def blur(picture: Picture, options: Resize) -> Picture:
    """Blur with a Gaussian."""
    return picture if options.blur is None else picture.having(_blurred(picture.image, options.blur))


def sharpen(picture: Picture, options: Resize) -> Picture:
    """Sharpen with an unsharp mask: the difference from the blurred picture, once more. Alpha is not changed."""
    image = picture.image
    if options.sharpen is None:
        return picture
    around = _blurred(image, options.sharpen)
    if image.mode != "RGBA":
        return picture.having(Image.blend(around, image, 2.0))
    sharp = Image.blend(around.convert("RGB"), image.convert("RGB"), 2.0)
    sharp.putalpha(image.getchannel("A"))
    return picture.having(sharp)


def _blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Blur L, RGB or RGBA, with alpha premultiplied, so that invisible pixels tint nothing."""
    gaussian = ImageFilter.GaussianBlur(sigma)
    if image.mode == "RGBA":
        return image.convert("RGBa").filter(gaussian).convert("RGBA")
    return image.filter(gaussian)


def watermark(picture: Picture, options: Resize) -> Picture:
    """Put the watermark on the result: within a share of its size, at its gravity."""
    image, mark = picture.image, picture.watermark
    if mark is None:
        return picture
    box = tuple(max(1, round(side * options.watermark_scale)) for side in image.size)
    size = inside(mark.size, (box[0], box[1]))
    mark = from_srgb(mark.resize(size, Image.Resampling.LANCZOS), picture.profile)
    if options.watermark_opacity < 1:
        mark.putalpha(mark.getchannel("A").point(lambda alpha: round(alpha * options.watermark_opacity)))
    marked = image.convert("RGBA")
    marked.alpha_composite(mark, offset(size, image.size, options.watermark_gravity))
    return picture.having(marked if image.mode == "RGBA" else marked.convert("RGB"))
