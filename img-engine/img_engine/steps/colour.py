"""Colour management: from the embedded profile to sRGB."""

from __future__ import annotations

import io
from typing import Final

from img_contract.job import Resize
from img_contract.outcome import WarningCode
from PIL import Image, ImageCms

from img_engine.picture import Picture

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

_MODE_OF_SPACE: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The Pillow mode of pixels that an ICC profile of this colour space describes."""


def to_srgb(picture: Picture, _: Resize) -> Picture:
    """Convert by the embedded ICC profile (perceptual, black point compensation). CMYK may come in, never goes out."""
    image = picture.image
    if picture.profile:
        try:
            return picture.having(_converted(image, picture.profile))
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            picture = picture.warned(
                WarningCode.PROFILE_UNUSABLE, f"the embedded colour profile cannot be used, sRGB is assumed: {error}"
            )
    return picture.having(image.convert("RGB")) if image.mode == "CMYK" else picture


def _converted(image: Image.Image, icc: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    space = str(profile.profile.xcolor_space).strip()
    mode = _MODE_OF_SPACE.get(space)
    coloured = image.convert("RGB") if image.mode == "RGBA" else image
    if mode == "RGB" and coloured.mode == "L":
        coloured = coloured.convert("RGB")
    if mode == "L" and coloured.mode == "RGB":
        coloured = coloured.convert("L")
    if coloured.mode != mode:
        raise ValueError(f"it is for {space or 'an unknown colour space'}, the picture is {image.mode}")
    converted = ImageCms.profileToProfile(
        coloured,
        profile,
        _SRGB,
        renderingIntent=ImageCms.Intent.PERCEPTUAL,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ValueError("the transformation gave no picture")
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted.convert("L") if image.mode == "L" else converted
