"""The eight orientations of a stored picture, as EXIF numbers them, and how they combine.

EXIF 2.32, tag 0x0112: 1 upright, 2 mirrored left to right, 3 turned by 180°, 4 mirrored top to bottom, 5 mirrored along
the main diagonal, 6 to be turned by 90° clockwise, 7 mirrored along the other diagonal, 8 to be turned by 270°.
A number says what has to be done to the stored picture to make it upright.
"""

from __future__ import annotations

from typing import Final

from PIL import Image

UPRIGHT: Final = 1
"""Stored upright."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie outside."""

_Matrix = tuple[tuple[int, int], tuple[int, int]]

# upright = matrix × stored, x to the right, y downwards, from the middle.
_MATRICES: Final[dict[int, _Matrix]] = {
    1: ((1, 0), (0, 1)),
    2: ((-1, 0), (0, 1)),
    3: ((-1, 0), (0, -1)),
    4: ((1, 0), (0, -1)),
    5: ((0, 1), (1, 0)),
    6: ((0, -1), (1, 0)),
    7: ((0, -1), (-1, 0)),
    8: ((0, 1), (-1, 0)),
}
_NUMBERS: Final = {matrix: number for number, matrix in _MATRICES.items()}
_OF_TURN: Final = {0: 1, 90: 6, 180: 3, 270: 8}
_FLIP, _FLOP = 4, 2

TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Pillow's operation that makes a picture upright; its rotations are counter-clockwise."""


def sideways(orientation: int) -> bool:
    """Return whether width and height change places."""
    return _MATRICES[orientation][0][0] == 0


def turned(orientation: int, clockwise: int, *, flip: bool, flop: bool) -> int:
    """Combine an orientation with a turn by 0, 90, 180 or 270 degrees, then with mirroring, into one orientation."""
    matrix = _product(_MATRICES[_OF_TURN[clockwise]], _MATRICES[orientation])
    if flip:
        matrix = _product(_MATRICES[_FLIP], matrix)
    if flop:
        matrix = _product(_MATRICES[_FLOP], matrix)
    return _NUMBERS[matrix]


def as_seen(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the upright size of a stored picture; also the reverse, as both swap the sides or neither does."""
    return (size[1], size[0]) if sideways(orientation) else size


def as_stored(box: Box, stored: tuple[int, int], orientation: int) -> Box:
    """Return where a box of the upright picture lies in the stored one, whose size is given."""
    (a, b), (c, d) = _MATRICES[orientation]
    width, height = as_seen(stored, orientation)
    corners = []
    for x, y in (box[:2], box[2:]):
        across, down = 2 * x - width, 2 * y - height  # from the middle, in half pixels
        # The matrix is orthogonal: its inverse is its transpose.
        corners.append(((a * across + c * down + stored[0]) // 2, (b * across + d * down + stored[1]) // 2))
    (x1, y1), (x2, y2) = corners
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _product(after: _Matrix, first: _Matrix) -> _Matrix:
    (a, b), (c, d) = after
    (e, f), (g, h) = first
    return (a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h)
