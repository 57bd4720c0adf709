"""Colour management: from what the upload's colours mean to sRGB, or to Display P3."""

from __future__ import annotations

from dataclasses import replace

from img_contract.job.choices import Profile
from img_contract.job.outcome import WarningCode
from img_contract.job.resize import Resize

from img_engine.render.icc import DISPLAY_P3, ERRORS, SRGB, converted, mode_of
from img_engine.render.picture import Picture
from img_engine.render.steps.tone_mapping import to_sdr


def convert_colours(picture: Picture, options: Resize) -> Picture:
    """Convert to sRGB, which needs no profile, or to Display P3; or keep the profile. CMYK becomes RGB.

    A grey picture stays one without a profile: its greys are the same in either.
    """
    if options.profile is Profile.KEEP and picture.hdr is None and picture.profile is not None:
        try:
            if _can_keep(picture, options):
                return picture
            picture = picture.warned(
                WarningCode.PROFILE_DROPPED,
                f"{picture.encoder.format} cannot hold the picture's colours as they are; they were converted to sRGB",
            )
        except ERRORS:
            pass  # it cannot be used, as the conversion will find
    target = None
    if options.profile is Profile.P3 and picture.image.mode != "L" and not options.grayscale:
        if picture.encoder.profile:
            target = DISPLAY_P3
        else:
            detail = f"{picture.encoder.format} holds no colour profile; the colours were converted to sRGB"
            picture = picture.warned(WarningCode.PROFILE_DROPPED, detail)
    return _converted(picture, target) if picture.hdr is None else _from_hdr(picture, options, target)


def _converted(picture: Picture, target: bytes | None) -> Picture:
    image, icc = picture.image, picture.profile
    if icc is not None:
        try:
            return replace(picture, image=converted(image, icc, target or SRGB), profile=target)
        except ERRORS as error:
            picture = picture.warned(
                WarningCode.PROFILE_UNUSABLE, f"the embedded colour profile cannot be used, sRGB is assumed: {error}"
            )
    image = image.convert("RGB") if image.mode == "CMYK" else image
    return replace(picture, image=image if target is None else converted(image, SRGB, target), profile=target)


def _from_hdr(picture: Picture, options: Resize, target: bytes | None) -> Picture:
    if picture.hdr is None:
        return picture
    grey = picture.image.mode == "L"
    coloured = picture.image.convert("RGB") if grey else picture.image
    image, brighter = to_sdr(coloured, picture.hdr, p3=target is not None)
    if brighter:
        picture = picture.warned(
            WarningCode.HDR_TONE_MAPPED, "the upload has parts brighter than white (HDR), which were made less bright"
        )
    if options.profile is Profile.KEEP:
        detail = "colours of high dynamic range cannot be kept; they were converted to sRGB"
        picture = picture.warned(WarningCode.PROFILE_DROPPED, detail)
    return replace(picture, image=image.convert("L") if grey else image, hdr=None, profile=target)


def _can_keep(picture: Picture, options: Resize) -> bool:
    """Return whether the result's pixels will be of the profile's kind, in a format that can hold it."""
    if picture.profile is None or not picture.encoder.profile:
        return False
    mode = picture.image.mode.removesuffix("A")
    padded = picture.sizes.scaled != picture.sizes.canvas
    shows_through = picture.image.mode == "RGBA" or padded
    gets_colours = picture.watermark is not None or (shows_through and options.background is not None)
    return (
        mode_of(picture.profile) == mode
        and mode in picture.encoder.modes
        and not gets_colours  # they are meant in sRGB
        and not (mode == "L" and padded)
        and not (mode == "RGB" and options.grayscale)
    )
