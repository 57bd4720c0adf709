"""Run-length encoded BMPs, which Pillow decodes in Python, run by run."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from img_engine.render.reading.bounds import at_most

MOST_BYTES: Final = 4_000_000
"""Of a run-length encoded file: 2 million runs, for which Pillow takes a second or two."""

_HEADER_AT: Final = 14
_COMPRESSION: Final = slice(16, 20)
_RUN_LENGTHS: Final = (1, 2)
"""BI_RLE8, BI_RLE4 (https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader)."""


def check_runs(file: BinaryIO, header_at: int = _HEADER_AT) -> None:
    """Raise PictureRefused for a run-length encoded file that is larger than allowed. Rewinds the file."""
    file.seek(header_at)
    header = file.read(_COMPRESSION.stop)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    old = int.from_bytes(header[:4], "little") < _COMPRESSION.stop  # its header has no such field
    if not old and int.from_bytes(header[_COMPRESSION], "little") in _RUN_LENGTHS:
        at_most(MOST_BYTES, size, "bytes of a run-length encoded BMP")
