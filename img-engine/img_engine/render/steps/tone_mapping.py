"""From high dynamic range, PQ or HLG, to sRGB or Display P3.

White is 203 cd/m², the level of a diffuse white in HDR (ITU-R BT.2408, 2.2): it becomes their white. HLG is shown as
on a screen of 1000 cd/m² with a system gamma of 1.2 (BT.2100, table 5). If the picture has brighter parts, the highest
channel of each pixel is compressed by the curve of BT.2390 (5.4.1) from the picture's own peak to white, the others
with it, so that the hue stays; colours beyond theirs are cut. A picture without brighter parts is only converted.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from PIL import Image

from img_engine.render.cicp import HLG, Cicp, between, srgb_encoded

_WHITE: Final = 203.0
"""cd/m²."""

_HLG_PEAK: Final = 1000.0
_HLG_GAMMA: Final = 1.2

_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""SMPTE ST 2084."""

_AS_WHITE: Final = 1.1
"""A peak of so many times white is white, in 8 bits."""

_BT2020: Final = 9
_LUMA: Final = {
    1: (0.2126, 0.7152, 0.0722),
    5: (0.299, 0.587, 0.114),
    6: (0.299, 0.587, 0.114),
    _BT2020: (0.2627, 0.6780, 0.0593),
}
"""The shares of red, green and blue in luma, by matrix coefficients (H.273, table 4)."""

_BAND: Final = 1024 * 1024
"""Pixels that are converted at once."""


def to_sdr(image: Image.Image, cicp: Cicp, *, p3: bool = False) -> tuple[Image.Image, bool]:
    """Convert RGB or RGBA to sRGB or Display P3; return it, and whether it had parts brighter than white."""
    levels = np.arange(256)
    light = _light(levels / 255, cicp)
    mended = _light((levels[:, None] + _lost(cicp)).clip(0, 255) / 255, cicp) if _is_cut(cicp) else None
    highest = max(band.getextrema()[1] for band in image.split()[:3])
    peak = float(light[highest])
    if cicp.transfer == HLG:
        peak = peak**_HLG_GAMMA * _HLG_PEAK / _WHITE
    made = Image.new(image.mode, image.size)
    matrix = between(cicp.primaries, 12 if p3 else 1).astype(np.float32)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        band = np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))
        found = light[band[..., :3]]
        if mended is not None:
            coloured = (band[..., 0] != band[..., 1]) | (band[..., 1] != band[..., 2])  # in a grey nothing was cut off
            found[coloured] = mended[band[coloured, :3], np.arange(3)]
        pixels = _converted(found, cicp, peak, matrix)
        if image.mode == "RGBA":
            pixels = np.concatenate((pixels, band[..., 3:]), axis=-1)
        made.paste(Image.fromarray(pixels, image.mode), (0, top))
    return made, peak > _AS_WHITE


def _light(levels: Any, cicp: Cicp) -> Any:
    """Return the light of levels of 0 to 1, of which white is 1; for HLG that of the scene."""
    return (_from_hlg(levels) if cicp.transfer == HLG else _from_pq(levels) / _WHITE).astype(np.float32)


def _is_cut(cicp: Cicp) -> bool:
    return cicp.cut_bits > 0 and cicp.matrix in _LUMA


def _lost(cicp: Cicp) -> Any:
    """Return what red, green and blue have lost on average, in levels of 255, where 8 bits were made of more.

    libavif (with libyuv) cuts the low bits of Cb and Cr off, and those of Y where the range is limited: a shift of up
    to one and a half levels, towards green, as measured beside its conversion to 16 bits.
    """
    red, green, blue = _LUMA[cicp.matrix]
    cut = (1 - 2.0**-cicp.cut_bits) / 2
    luma, chroma = (0.0, cut) if cicp.full_range else (cut * 255 / 219, cut * 255 / 224)
    to_red, to_blue = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    return luma + np.array([to_red, -(red * to_red + blue * to_blue) / green, to_blue])


def _converted(light: Any, cicp: Cicp, peak: float, matrix: Any) -> Any:
    """Return pixels of 8 bits from light, of which 1 is white."""
    if cicp.transfer == HLG:
        luma = (light @ np.array(_LUMA[_BT2020], np.float32))[..., None]
        light = light * luma ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _WHITE)
    if peak > _AS_WHITE:
        highest = light.max(axis=-1, keepdims=True)
        light = light * (_compressed(highest, peak) / np.maximum(highest, 1e-6))
    linear = (light @ matrix.T).clip(0, 1)
    return (srgb_encoded(linear) * 255 + 0.5).astype(np.uint8)


def _compressed(light: Any, peak: float) -> Any:
    """Apply the curve of BT.2390 from that peak to 1."""
    top = _to_pq(peak * _WHITE)
    white = _to_pq(_WHITE) / top
    knee = 1.5 * white - 0.5
    level = _to_pq(light * _WHITE) / top
    t = (level - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * white
    return _from_pq(np.where(level < knee, level, spline) * top) / _WHITE


def _from_pq(level: Any) -> Any:
    """Return cd/m²."""
    power = np.maximum(level, 0) ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _to_pq(light: Any) -> Any:
    power = (np.maximum(light, 0) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _from_hlg(level: Any) -> Any:
    """Return the scene's light, 0 to 1 (BT.2100, table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)  # noqa: PLR2004
