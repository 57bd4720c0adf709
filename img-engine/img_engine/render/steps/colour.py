"""Colour management: from the embedded profile to sRGB."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from typing import Final, cast

from img_contract.job.choices import Profile
from img_contract.job.outcome import WarningCode
from img_contract.job.resize import Resize
from PIL import Image, ImageChops, ImageCms

from img_engine.render.cicp import Cicp
from img_engine.render.picture import Picture
from img_engine.render.steps.tone_mapping import to_sdr

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

_MODE_OF_SPACE: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The Pillow mode of pixels that an ICC profile of this colour space describes."""

_UNSEEN: Final = 1
"""A profile that changes no channel of any colour by more than this counts as sRGB."""


def to_srgb(picture: Picture, options: Resize) -> Picture:
    """Convert by the embedded ICC profile (perceptual, black point compensation). CMYK becomes RGB."""
    image, icc = picture.image, picture.profile
    if picture.hdr is not None:
        return _from_hdr(picture, picture.hdr, options)
    if icc is None:
        return picture.having(image.convert("RGB")) if image.mode == "CMYK" else picture
    try:
        if options.profile is Profile.KEEP:
            if _can_keep(picture, options):
                return picture
            picture = picture.warned(
                WarningCode.PROFILE_DROPPED,
                f"{picture.encoder.format} cannot hold the picture's colours as they are; they were converted to sRGB",
            )
        return replace(picture, image=_converted(image, icc), profile=None)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        picture = picture.warned(
            WarningCode.PROFILE_UNUSABLE, f"the embedded colour profile cannot be used, sRGB is assumed: {error}"
        )
    return replace(picture, image=image.convert("RGB") if image.mode == "CMYK" else image, profile=None)


def _from_hdr(picture: Picture, cicp: Cicp, options: Resize) -> Picture:
    grey = picture.image.mode == "L"
    image, brighter = to_sdr(picture.image.convert("RGB") if grey else picture.image, cicp)
    if brighter:
        picture = picture.warned(
            WarningCode.HDR_TONE_MAPPED, "the upload has parts brighter than white (HDR), which were made less bright"
        )
    if options.profile is Profile.KEEP:
        detail = "colours of high dynamic range cannot be kept; they were converted to sRGB"
        picture = picture.warned(WarningCode.PROFILE_DROPPED, detail)
    return replace(picture, image=image.convert("L") if grey else image, hdr=None)


def _can_keep(picture: Picture, options: Resize) -> bool:
    """Return whether the result's pixels will be of the profile's kind, in a format that can hold it."""
    if picture.profile is None or not picture.encoder.profile:
        return False
    mode = picture.image.mode.removesuffix("A")
    padded = picture.sizes.scaled != picture.sizes.canvas
    shows_through = picture.image.mode == "RGBA" or padded
    gets_colours = picture.watermark is not None or (shows_through and options.background is not None)
    return (
        _space(picture.profile) == mode
        and mode in picture.encoder.modes
        and not gets_colours  # they are meant in sRGB
        and not (mode == "L" and padded)
        and not (mode == "RGB" and options.grayscale)
    )


def _converted(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert L, RGB, RGBA or CMYK to sRGB in the same mode; CMYK to RGB."""
    mode = _space(icc)
    coloured = image
    if mode == "RGB" and image.mode == "L":
        coloured = image.convert("RGB")
    if mode == "L" and image.mode in ("RGB", "RGBA"):
        coloured = image.convert("L")
    if coloured.mode.removesuffix("A") != mode:
        raise ValueError(f"it is for {mode} pictures, this one is {image.mode}")
    transform = _transform(icc, coloured.mode)
    if transform is None:
        return image
    converted = transform.apply(coloured)
    if image.mode == "RGBA" and converted.mode != "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted.convert("L") if image.mode == "L" else converted


def is_srgb(icc: bytes) -> bool:
    """Return whether an RGB picture with that profile has the same colours without it."""
    try:
        return _space(icc) == "RGB" and _transform(icc, "RGB") is None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


@lru_cache(maxsize=8)
def _space(icc: bytes) -> str:
    """Return the Pillow mode of the pixels that a profile describes."""
    space = str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    if space not in _MODE_OF_SPACE:
        raise ValueError(f"it is for {space or 'an unknown colour space'}")
    return _MODE_OF_SPACE[space]


@lru_cache(maxsize=8)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB for pixels of that mode; None if it changes nothing visibly."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        _SRGB,
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
