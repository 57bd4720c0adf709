"""From a file to pixels in one of the modes that the later steps know."""

from __future__ import annotations

import math
from typing import Final, cast

from img_contract.job import Resize
from img_contract.outcome import FailureCode
from PIL import Image, ImageMath

from img_engine.errors import PictureRefused
from img_engine.picture import Picture

_BASE_BYTES: Final = 256 * 1024 * 1024
"""Address space of a child that has rendered nothing yet: Python, libraries, thread stacks. Measured: about 200 MB."""


def shrink_on_load(picture: Picture, _: Resize) -> Picture:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that is still larger than needed. No effect on other formats.

    Larger, not as large: where a factor would hit the size exactly, the next smaller one is taken, so that the filter
    decides the look (sharp's rule).
    """
    width, height = picture.plan.scaled
    if picture.sideways:
        width, height = height, width
    picture.image.draft(None, (width + 1, height + 1))
    return picture


def check_memory(picture: Picture, _: Resize) -> Picture:
    """Refuse what would not fit: some libraries end the process when memory runs out, and could not say why.

    Pillow holds 4 bytes a pixel. Beside the source stands a copy of it (another mode, or premultiplied), and beside the
    result two.
    """
    source = picture.image.width * picture.image.height
    result = max(math.prod(picture.plan.scaled), math.prod(picture.plan.canvas))
    needed = _BASE_BYTES + 4 * (2 * source + 3 * result)
    if needed > picture.memory:
        raise PictureRefused(
            FailureCode.TOO_MUCH_MEMORY,
            f"expected a picture that needs at most {picture.memory} bytes of memory, found about {needed}",
            limit=picture.memory,
            actual=needed,
        )
    return picture


def decode(picture: Picture, _: Resize) -> Picture:
    """Decode, and bring any mode to L, RGB, RGBA or CMYK of 8 bits: no palette can be resampled, 16 bits are scaled."""
    image = picture.image
    image.load()
    if image.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        image = _to_eight_bits(image)
    if image.mode == "RGBA":
        pass
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    return picture.having(image)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a picture of one wide channel to L.

    By the range that its samples are in: 0…1 (floating point only), 0…255 or 0…65535; samples beyond those are
    measurements, of which the lowest becomes black and the highest white.
    """
    invisible = image.info.get("transparency")
    samples = image.convert("F")
    lowest, highest = cast("tuple[float, float]", samples.getextrema())
    black, white = 0.0, 65535.0
    if lowest < 0 or highest > white:
        black, white = lowest, max(highest, math.nextafter(lowest, math.inf))
    elif image.mode == "F" and highest <= 1:
        white = 1.0
    elif image.mode in ("I", "F") and highest <= 255:  # noqa: PLR2004  eight bits in a wide channel
        white = 255.0
    gain = 255.0 / (white - black)
    grey = samples.point(lambda sample: sample * gain + (0.5 - black * gain)).convert("L")
    if isinstance(invisible, int):
        # PNG's tRNS names one sample value; it must be looked for before the samples lose their lower bits.
        opaque = ImageMath.lambda_eval(
            lambda images: images["convert"]((images["samples"] != invisible) * 255, "L"), samples=image.convert("I")
        )
        grey = Image.merge("LA", (grey, opaque))
    return grey
