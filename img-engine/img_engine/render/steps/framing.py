"""Cutting to the canvas, padding to it, and the background behind transparent parts."""

from __future__ import annotations

from dataclasses import replace

from img_contract.job.choices import Gravity
from img_contract.job.outcome import WarningCode
from img_contract.job.resize import Resize
from PIL import Image

from img_engine.render.geometry import offset
from img_engine.render.icc import from_srgb
from img_engine.render.picture import OPAQUE, Picture
from img_engine.render.steps.smart_crop import most_interesting


def crop(picture: Picture, options: Resize) -> Picture:
    """Cut what hangs over the canvas (fit=cover), keeping the part that gravity names."""
    width, height = picture.image.size
    canvas = min(width, picture.sizes.canvas[0]), min(height, picture.sizes.canvas[1])
    if canvas == (width, height):
        return picture
    left, top = picture.cut or _place(picture.image, canvas, options.gravity)
    cut = picture.image.crop((left, top, left + canvas[0], top + canvas[1]))
    return replace(picture, image=cut, cut=(left, top))


def _place(image: Image.Image, canvas: tuple[int, int], gravity: Gravity) -> tuple[int, int]:
    if gravity is Gravity.SMART:
        return most_interesting(image, canvas)
    return offset(canvas, image.size, gravity)


def pad(picture: Picture, options: Resize) -> Picture:
    """Put a picture that is smaller than its canvas (fit=contain) on it. `flatten` adds the background."""
    image, canvas = picture.image, picture.sizes.canvas
    if image.size == canvas:
        return picture
    framed = Image.new("RGBA", canvas, (255, 255, 255, 0))
    framed.paste(image, offset(image.size, canvas, options.gravity))
    return replace(picture, image=framed, padded=True)


def flatten(picture: Picture, options: Resize) -> Picture:
    """Put transparent parts on the background, if one was given or the format holds no alpha. RGBA in, RGB(A) out."""
    image = picture.image
    if image.mode != "RGBA":
        return picture
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == OPAQUE:
        return picture.having(image.convert("RGB"))
    if picture.encoder.alpha and options.background is None:
        return picture
    behind = from_srgb(Image.new("RGBA", (1, 1), options.background or "white"), picture.profile).resize(image.size)
    if not picture.encoder.alpha:
        # The background may be translucent itself; white is behind it.
        behind = Image.alpha_composite(Image.new("RGBA", image.size, "white"), behind)
    flat = Image.alpha_composite(behind, image)
    if options.background is None and not picture.padded:
        picture = picture.warned(
            WarningCode.ALPHA_FLATTENED,
            f"{picture.encoder.format} holds no transparency; transparent parts were put on white",
        )
    return picture.having(flat if picture.encoder.alpha else flat.convert("RGB"))
