"""The size of a WebP, read before libwebp allocates it."""

from __future__ import annotations

from typing import BinaryIO


def webp_canvas(file: BinaryIO) -> tuple[int, int]:
    """Return the canvas of an extended WebP (VP8X); 0 × 0 for the simple kinds, of at most 16,383 pixels a side.

    https://developers.google.com/speed/webp/docs/riff_container#extended_file_format
    """
    head = file.read(30)
    file.seek(0)
    if head[12:16] != b"VP8X" or len(head) < 30:  # noqa: PLR2004  the chunk's end
        return 0, 0
    return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
