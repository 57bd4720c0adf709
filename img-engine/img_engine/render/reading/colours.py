"""What a file says of its colours, as a profile or as numbers; by the order that each specification gives.

PNG: cICP, then iCCP, sRGB, cHRM with gAMA (third edition, 4.3). AVIF and HEIC: the ICC profile, then nclx.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from img_engine.render.cicp import PRIMARIES, SRGB_CURVE, Cicp, matrix_profile, profile_of
from img_engine.render.reading.png_chunks import Notes

_USUAL_GAMMA: Final = 2.2
_NEAR: Final = 0.05
"""Of a gamma: it is that of sRGB, roughly, and what is meant is sRGB."""

_SAME_POINT: Final = 0.002


@dataclass(frozen=True)
class Colours:
    """The meaning of pixels."""

    profile: bytes | None = None
    """An ICC profile; None for sRGB, and for high dynamic range."""
    hdr: Cicp | None = None
    unknown: str = ""
    """What the file says that has no meaning here."""


SRGB: Final = Colours()


def colours_by_cicp(cicp: Cicp | None) -> Colours:
    """Return the colours that numbers mean."""
    if cicp is None:
        return SRGB
    if not cicp.known:
        return Colours(unknown=f"primaries {cicp.primaries} with transfer characteristics {cicp.transfer}")
    return Colours(hdr=cicp) if cicp.hdr else Colours(profile_of(cicp))


def colours_of_png(image: Image.Image, notes: Notes) -> Colours:
    """Return the colours of a PNG."""
    if notes.cicp is not None and notes.cicp.known and notes.cicp.matrix == 0 and notes.cicp.full_range:
        return colours_by_cicp(notes.cicp)
    embedded = image.info.get("icc_profile")
    if embedded or notes.srgb:
        return Colours(embedded or None)
    return Colours(_by_chromaticities(notes))


def _by_chromaticities(notes: Notes) -> bytes | None:
    """Return a profile of cHRM and gAMA, each taken from sRGB if it is not there; None if both are sRGB's."""
    gamma = 100_000 / notes.gamma if notes.gamma else _USUAL_GAMMA
    curve = SRGB_CURVE if abs(gamma - _USUAL_GAMMA) <= _NEAR else (gamma,)
    points = PRIMARIES[1]
    if notes.chromaticities:
        white, red, green, blue = (
            (x / 100_000, y / 100_000)
            for x, y in zip(notes.chromaticities[::2], notes.chromaticities[1::2], strict=True)
        )
        points = (red, green, blue, white)
    if np.abs(np.array(points) - np.array(PRIMARIES[1])).max() <= _SAME_POINT:
        points = PRIMARIES[1]
    if points == PRIMARIES[1] and curve == SRGB_CURVE:
        return None
    try:
        return matrix_profile(*points, curve)
    except (ValueError, ZeroDivisionError, struct.error, np.linalg.LinAlgError):
        return None  # primaries of no triangle, or a gamma of thousands, say nothing
