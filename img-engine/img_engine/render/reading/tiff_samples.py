"""From the samples of a TIFF to pixels of 8 bits: L, LA, RGB, RGBA or CMYK.

TIFF 6.0, sections 8, 16 (colour spaces), 18 (alpha), 19 (formats of samples), 23 (CIE L*a*b*).
"""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from img_engine.render.cicp import srgb_encoded
from img_engine.render.reading.tiff_layout import (
    CIELAB,
    CMYK,
    COLOURS,
    FLOAT,
    ICCLAB,
    PALETTE,
    UNSIGNED,
    WHITE_IS_ZERO,
    TiffLayout,
)
from img_engine.render.reading.tiff_segments import Samples, bands

_FULL: Final = 255.0

_XYZ_TO_RGB: Final = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
"""From XYZ by D50 to linear sRGB, adapted by Bradford (http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html)."""

_WHITE: Final = np.array([0.96422, 1.0, 0.82521], np.float32)
"""D50, to which L*a*b* refers in TIFFs."""


def mode_of(layout: TiffLayout) -> str:
    """Return the mode that `read_samples` gives."""
    if layout.photometric == CMYK:
        return "CMYK"
    coloured = "L" if COLOURS[layout.photometric] == 1 and layout.photometric != PALETTE else "RGB"
    return coloured if layout.alpha is None else "LA" if coloured == "L" else "RGBA"


def read_samples(file: BinaryIO, layout: TiffLayout) -> Image.Image:
    """Decode as stored, not turned. Raises what Pillow raises, and ValueError."""
    mode, span = mode_of(layout), _span(file, layout)
    image = Image.new(mode, layout.size)
    for top, samples in bands(file, layout):
        pixels = _pixels(samples, layout, span)
        image.paste(Image.fromarray(pixels, mode), (0, top))
    return image


def _span(file: BinaryIO, layout: TiffLayout) -> tuple[float, float]:
    """Return the values of black and white: all that unsigned samples can have, unless the file says more.

    Floating point is from 0 to 1, or else has the range of the picture; so have negative numbers.
    """
    if layout.photometric in (PALETTE, CIELAB, ICCLAB):
        return 0, 0
    if layout.kind == UNSIGNED:
        return 0, (1 << layout.bits) - 1
    if layout.span:
        return layout.span
    lowest, highest = np.inf, -np.inf
    coloured = [number for number in range(layout.channels) if number != layout.alpha]
    for _, samples in bands(file, layout):
        seen = samples[..., coloured]
        seen = seen[np.isfinite(seen)] if layout.kind == FLOAT else seen
        if seen.size:
            lowest, highest = min(lowest, float(seen.min())), max(highest, float(seen.max()))
    if lowest < 0 or (layout.kind == FLOAT and highest > 1):
        return lowest, max(highest, np.nextafter(lowest, np.inf))
    return 0, 1 if layout.kind == FLOAT else (1 << (layout.bits - 1)) - 1


def _pixels(samples: Samples, layout: TiffLayout, span: tuple[float, float]) -> Any:
    """Return a band as Pillow's modes have it: one channel without a third axis."""
    first = COLOURS[layout.photometric]
    colours = samples[..., :first]
    if layout.photometric == PALETTE:
        table = np.array(layout.colours, np.uint16).reshape(3, -1).T
        seen = (table >> 8).astype(np.uint8)[colours[..., 0]]
    elif layout.photometric in (CIELAB, ICCLAB):
        seen = _from_lab(colours, layout)
    elif layout.alpha is None or layout.photometric == CMYK:
        seen = _eight_bits(_scaled(colours, span, layout))
        return seen[..., 0] if first == 1 else seen
    else:
        seen = _scaled(colours, span, layout)
    if layout.alpha is None:
        return seen
    alpha = _scaled(samples[..., layout.alpha : layout.alpha + 1], _alpha_span(layout), None)
    if seen.dtype == np.uint8:
        return np.concatenate((seen, _eight_bits(alpha)), axis=-1)
    if layout.associated:
        seen = np.divide(seen, alpha, out=np.zeros_like(seen), where=alpha > 0)
    return np.concatenate((_eight_bits(seen), _eight_bits(alpha)), axis=-1)


def _scaled(samples: Samples, span: tuple[float, float], layout: TiffLayout | None) -> Any:
    """Scale to 0…1; white-is-zero is turned round."""
    wide = np.float64 if samples.dtype.itemsize > 2 else np.float32  # noqa: PLR2004  bytes
    with np.errstate(invalid="ignore", over="ignore"):
        found = (samples.astype(wide) - span[0]) / (span[1] - span[0])
    found = np.nan_to_num(found, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return 1 - found if layout is not None and layout.photometric == WHITE_IS_ZERO else found


def _alpha_span(layout: TiffLayout) -> tuple[float, float]:
    if layout.kind == FLOAT:
        return 0, 1
    return 0, (1 << (layout.bits - (layout.kind != UNSIGNED))) - 1


def _eight_bits(scaled: Any) -> Any:
    return (scaled.clip(0, 1) * _FULL + 0.5).astype(np.uint8)


def _from_lab(samples: Samples, layout: TiffLayout) -> Any:
    """Convert CIE L*a*b* to sRGB. L* is unsigned; a* and b* are signed, or around the middle in ICC's way."""
    full, unit = (1 << layout.bits) - 1, 1 << (layout.bits - 8)
    if layout.kind == FLOAT:
        lightness, around = samples[..., 0].astype(np.float32), samples[..., 1:].astype(np.float32)
    else:
        stored = samples.astype(np.int64) & full
        around = stored[..., 1:]
        middle = 1 << (layout.bits - 1)
        around = around - middle if layout.photometric == ICCLAB else around - ((around >= middle) << layout.bits)
        # In ICC's way of 16 bits, white is 0xFF00.
        white = 255 * unit if layout.photometric == ICCLAB else full
        lightness, around = stored[..., 0].astype(np.float32) * (100 / white), around.astype(np.float32) / unit
    y = (lightness + 16) / 116
    curved = np.stack((y + around[..., 0] / 500, y, y - around[..., 1] / 200), axis=-1)
    linear = np.where(curved > 6 / 29, curved**3, (curved - 4 / 29) * (3 * (6 / 29) ** 2)) * _WHITE
    rgb = (linear @ _XYZ_TO_RGB.T).clip(0, 1)
    return _eight_bits(srgb_encoded(rgb))
