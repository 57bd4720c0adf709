"""Converting pixels from one ICC profile to another: perceptual intent, black point compensation (LittleCMS)."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final, cast

from PIL import Image, ImageChops, ImageCms

from img_engine.render.cicp import Cicp, profile_of

SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

DISPLAY_P3: Final = profile_of(Cicp(primaries=12, transfer=13), "Display P3") or b""
"""Of our own making: some 600 bytes."""

ERRORS: Final = (ImageCms.PyCMSError, OSError, ValueError)
"""Raised for a profile that cannot be used."""

_MODE_OF_SPACE: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The Pillow mode of pixels that an ICC profile of this colour space describes."""

_UNSEEN: Final = 1
"""Two profiles between which no channel of any colour changes by more than this count as the same."""


def converted(image: Image.Image, source: bytes, target: bytes = SRGB) -> Image.Image:
    """Convert L, RGB, RGBA or CMYK to an RGB profile, in the same mode; CMYK to RGB. Grey stays grey.

    Raises one of ERRORS for a profile that cannot be used for such pixels.
    """
    mode = mode_of(source)
    coloured = image
    if mode == "RGB" and image.mode == "L":
        coloured = image.convert("RGB")
    if mode == "L" and image.mode in ("RGB", "RGBA"):
        coloured = image.convert("L")
    if coloured.mode.removesuffix("A") != mode:
        raise ValueError(f"it is for {mode} pictures, this one is {image.mode}")
    transform = _transform(source, target, coloured.mode)
    if transform is None:
        return image
    made = transform.apply(coloured)
    if image.mode == "RGBA" and made.mode != "RGBA":
        made.putalpha(image.getchannel("A"))
    return made.convert("L") if image.mode == "L" else made


def from_srgb(image: Image.Image, target: bytes | None) -> Image.Image:
    """Convert RGB or RGBA from sRGB to a profile; None: it stays as it is."""
    return image if target is None else converted(image, SRGB, target)


def is_srgb(icc: bytes) -> bool:
    """Return whether an RGB picture with that profile has the same colours without it."""
    try:
        return mode_of(icc) == "RGB" and _transform(icc, SRGB, "RGB") is None
    except ERRORS:
        return False


@lru_cache(maxsize=8)
def mode_of(icc: bytes) -> str:
    """Return the Pillow mode of the pixels that a profile describes. Raises one of ERRORS."""
    space = str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    if space not in _MODE_OF_SPACE:
        raise ValueError(f"it is for {space or 'an unknown colour space'}")
    return _MODE_OF_SPACE[space]


@lru_cache(maxsize=8)
def _transform(source: bytes, target: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to an RGB one for pixels of that mode; None if it changes nothing visibly."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(source)),
        ImageCms.ImageCmsProfile(io.BytesIO(target)),
        mode,
        "RGBA" if mode == "RGBA" else "RGB",
        renderingIntent=ImageCms.Intent.PERCEPTUAL,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return transform
    swatches = _swatches().convert(mode)
    changes = ImageChops.difference(transform.apply(swatches).convert("RGB"), swatches.convert("RGB")).convert("HSV")
    _, largest = cast("tuple[int, int]", changes.getchannel("V").getextrema())
    return transform if largest > _UNSEEN else None


@lru_cache(maxsize=1)
def _swatches() -> Image.Image:
    """Return 16 × 16 × 16 colours, evenly spread over the RGB cube."""
    levels = [17 * level for level in range(16)]
    colours = bytes(channel for red in levels for green in levels for blue in levels for channel in (red, green, blue))
    return Image.frombytes("RGB", (64, 64), colours)
