"""Cutting to the canvas, filling it, and what lies behind transparent parts."""

from __future__ import annotations

from img_contract.job import Resize
from img_contract.outcome import WarningCode
from PIL import Image

from img_engine.geometry import offset
from img_engine.picture import Picture, colour


def crop(picture: Picture, ask: Resize) -> Picture:
    """Cut what hangs over the canvas (fit=cover), keeping the part that gravity names."""
    width, height = picture.image.size
    canvas = min(width, picture.plan.canvas[0]), min(height, picture.plan.canvas[1])
    if canvas == (width, height):
        return picture
    left, top = offset(canvas, (width, height), ask.gravity)
    return picture.having(picture.image.crop((left, top, left + canvas[0], top + canvas[1])))


def pad(picture: Picture, ask: Resize) -> Picture:
    """Put a picture that is smaller than its canvas (fit=contain) on the background."""
    image, canvas = picture.image, picture.plan.canvas
    if image.size == canvas:
        return picture
    behind = colour(ask.background, alpha=picture.encoder.alpha)
    opaque = behind[3] == 255 and image.mode != "RGBA"  # noqa: PLR2004  fully
    framed = Image.new("RGB" if opaque else "RGBA", canvas, behind[:3] if opaque else behind)
    framed.paste(image, offset(image.size, canvas, ask.gravity))
    return picture.having(framed)


def flatten(picture: Picture, ask: Resize) -> Picture:
    """Put transparent parts on the background, if one was given or the format holds no alpha. RGBA in, RGB out."""
    image = picture.image
    if image.mode != "RGBA":
        return picture
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == 255:  # noqa: PLR2004  nothing is transparent
        return picture.having(image.convert("RGB"))
    if picture.encoder.alpha and ask.background is None:
        return picture
    behind = colour(ask.background, alpha=picture.encoder.alpha)
    flat = Image.alpha_composite(Image.new("RGBA", image.size, behind), image)
    if ask.background is None:
        picture = picture.warned(
            WarningCode.ALPHA_FLATTENED,
            f"{picture.encoder.pillow.lower()} holds no transparency; transparent parts were put on white",
        )
    return picture.having(flat if picture.encoder.alpha else flat.convert("RGB"))
