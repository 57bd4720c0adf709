"""How far apart colours are, for every way to write them: CIELAB by a profile, and ΔE00."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms


def lab_by_profile(image: Image.Image) -> Any:
    """The picture in CIELAB (D50) by its embedded profile, or as sRGB: rows × columns × 3, by littlecms."""
    icc = image.info.get("icc_profile")
    source: Any = ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else ImageCms.createProfile("sRGB")
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(
        source, lab, "RGB", "LAB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.NOCACHE
    )
    found = np.asarray(to_lab.apply(image.convert("RGB"))).astype(float)
    found[..., 0] *= 100 / 255
    found[..., 1:] = (found[..., 1:] + 128) % 256 - 128
    return found


def delta_e00(one: Any, other: Any) -> Any:
    """CIEDE2000 of each pixel (ISO/CIE 11664-6)."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(lab, -1, 0) for lab in (one, other))
    seventh = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    more = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    c1, c2 = np.hypot(a1 * more, b1), np.hypot(a2 * more, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * more)) % 360 for a, b in ((a1, b1), (a2, b2)))
    coloured = c1 * c2 > 0
    turn = np.where(coloured, (h2 - h1 + 180) % 360 - 180, 0)
    hue = np.where(coloured, (h1 + turn / 2) % 360, h1 + h2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    by_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    by_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    by_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    blue = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(blue)
    return np.sqrt(by_light**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue)


def _cos(degrees: Any) -> Any:
    return np.cos(np.radians(degrees))
