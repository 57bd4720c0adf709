"""Writing animated GIFs with transparency, joined from single frames.

GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt. Pillow's own animations are smaller, as they leave
out what does not change. But where frames are cleared, Pillow takes invisible pixels for black, and loses black.
"""

from __future__ import annotations

import io
import struct
from typing import Final

from PIL import Image

from img_engine.render.reading.gif import skip_blocks

_CLEARED: Final = 2
_EXTENSION: Final = 0x21


def join(frames: list[Image.Image], hundredths: list[int], repeats: int | None, comment: str = "") -> bytes:
    """Join frames of mode P or L, each cleared after its time; info["transparency"] is the invisible index.

    `repeats`: how often it is played again, 0: forever, None: not at all.
    """
    file = [b"GIF89a", struct.pack("<HHBBB", *frames[0].size, 0, 0, 0)]
    if repeats is not None:
        file.append(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", repeats, 0))
    if comment:
        blocks = [comment.encode()[at : at + 255] for at in range(0, len(comment.encode()), 255)]
        file += [b"!\xfe", *(bytes((len(block),)) + block for block in blocks), b"\0"]
    for frame, time in zip(frames, hundredths, strict=True):
        left, top, right, bottom = _visible(frame)
        colours, pixels = _single(frame.crop((left, top, right, bottom)))
        clear = frame.info.get("transparency")
        flags = _CLEARED << 2 | (clear is not None)
        bits = (len(colours) // 3).bit_length() - 2
        file += (
            struct.pack("<BBBBHBB", _EXTENSION, 0xF9, 4, flags, time, clear or 0, 0),
            struct.pack("<BHHHHB", 0x2C, left, top, right - left, bottom - top, 0x80 | bits),
            colours,
            pixels,
        )
    return b"".join((*file, b";"))


def _visible(frame: Image.Image) -> tuple[int, int, int, int]:
    """Return the box of the visible pixels; a single pixel if there are none."""
    clear = frame.info.get("transparency")
    if clear is None:
        return (0, 0, *frame.size)
    shown = frame.point([0 if index == clear else 255 for index in range(256)], "L")
    return shown.getbbox() or (0, 0, 1, 1)


def _single(frame: Image.Image) -> tuple[bytes, bytes]:
    """Let Pillow write a picture as a GIF; return its colours and its compressed pixels."""
    buffer = io.BytesIO()
    frame.info = {}
    frame.save(buffer, "GIF", optimize=False, interlace=False)
    data = buffer.getvalue()
    view = memoryview(data)
    at = 13 + (3 << (view[10] & 7) + 1)
    colours = data[13:at]
    while view[at] == _EXTENSION:
        at, _ = skip_blocks(view, at + 2)
    return colours, data[at + 10 : -1]
