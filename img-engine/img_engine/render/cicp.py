"""Colours by numbers: what primaries and transfer characteristics mean, and an ICC profile that says the same.

ITU-T H.273 (CICP), tables 2 and 3; ICC.1:2022. Browsers take the curves of BT.709, BT.601 and BT.2020 for that of sRGB,
as pictures with these numbers were made on screens; so does this.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

Point = tuple[float, float]
"""Chromaticity: x and y."""

PQ, HLG = 16, 18
"""Transfer characteristics of high dynamic range."""

_UNSAID: Final = 2
_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)


@dataclass(frozen=True)
class Cicp:
    """The meaning of colours in numbers."""

    primaries: int
    transfer: int
    matrix: int = 0
    full_range: bool = True
    cut_bits: int = 0
    """Bits of each value that the decoder cuts off; only high dynamic range is so coarse that it matters."""

    @property
    def hdr(self) -> bool:
        """Return whether the colours are of high dynamic range."""
        return self.transfer in (PQ, HLG)

    @property
    def known(self) -> bool:
        """Return whether the numbers have a meaning here."""
        return self.primaries in PRIMARIES and (self.transfer in _CURVES or self.hdr)


PRIMARIES: Final[dict[int, tuple[Point, Point, Point, Point]]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    _UNSAID: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
"""Red, green, blue and white."""

SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Parameters of ICC's third parametric curve: (a·x + b)^g from d on, c·x below."""

_CURVES: Final[dict[int, tuple[float, ...]]] = {
    **dict.fromkeys((1, _UNSAID, 6, 7, 13, 14, 15), SRGB_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    17: (2.6,),
}
"""By transfer characteristics; one number is a power."""

_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50: Final = np.array([0.9642, 1.0, 0.8249])
"""In ICC's rounding."""


def profile_of(cicp: Cicp, name: str = "RGB by its primaries") -> bytes | None:
    """Return a profile of that name that says what the numbers say; None if that is sRGB, or no profile can say it."""
    if not cicp.known or cicp.hdr:
        return None
    same = PRIMARIES[cicp.primaries] == PRIMARIES[1] and _CURVES[cicp.transfer] == SRGB_CURVE
    return None if same else matrix_profile(*PRIMARIES[cicp.primaries], _CURVES[cicp.transfer], name)


@lru_cache(maxsize=8)
def matrix_profile(
    red: Point, green: Point, blue: Point, white: Point, curve: tuple[float, ...], name: str = "RGB by its primaries"
) -> bytes:
    """Return an ICC profile of three primaries, a white point and one curve for all channels.

    Raises ValueError, numpy.linalg.LinAlgError for primaries that span no triangle.
    """
    chad = _to_d50(white)
    columns = chad @ to_xyz((red, green, blue, white))
    if not np.isfinite(columns).all() or np.abs(columns).max() > 4:  # noqa: PLR2004  times white
        raise ValueError("primaries that no screen has")
    number = 3 if len(curve) > 1 else 0
    parametric = b"para" + struct.pack(">IHH", 0, number, 0) + _fixed(curve)
    tags = [
        (b"desc", _text(name)),
        (b"cprt", _text("No copyright")),
        (b"wtpt", b"XYZ " + bytes(4) + _fixed(_D50)),
        (b"chad", b"sf32" + bytes(4) + _fixed(chad.ravel())),
        *((name, b"XYZ " + bytes(4) + _fixed(columns[:, at])) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))),
        *((name, parametric) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, content = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for tag, data in tags:
        table += struct.pack(">4sII", tag, begin + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = begin + len(content)
    made = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ") + made + b"acsp"
    return head.ljust(68, b"\0") + _fixed(_D50).ljust(60, b"\0") + table + content


def srgb_encoded(linear: Any) -> Any:
    """Return linear light of 0 to 1 by sRGB's curve (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)  # noqa: PLR2004


def to_xyz(primaries: tuple[Point, Point, Point, Point]) -> Any:
    """Return the matrix from linear RGB to XYZ by the white point's own light, where white has Y = 1."""
    *colours, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in primaries)
    matrix = np.stack(colours, axis=1)
    return matrix * np.linalg.solve(matrix, white)


def between(source: int, target: int) -> Any:
    """Return the matrix from linear RGB of some primaries to linear RGB of others, white to white (Bradford)."""
    to, by = (_to_d50(PRIMARIES[number][3]) @ to_xyz(PRIMARIES[number]) for number in (target, source))
    return np.linalg.solve(to, by)


def _to_d50(white: Point) -> Any:
    x, y = white
    from_white, to_white = _BRADFORD @ np.array([x / y, 1.0, (1 - x - y) / y]), _BRADFORD @ _D50
    return np.linalg.solve(_BRADFORD, np.diag(to_white / from_white) @ _BRADFORD)


def _fixed(numbers: Sequence[float] | Any) -> bytes:
    """Return numbers as s15Fixed16."""
    return b"".join(struct.pack(">i", round(float(number) * 65536)) for number in numbers)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded
