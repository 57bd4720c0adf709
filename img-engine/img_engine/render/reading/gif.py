"""The frames of a GIF, each cut out as a GIF of its own and decoded by Pillow.

GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt. Pillow's own composition often clears to a wrong colour and
widens the canvas for frames that hang over it; browsers clear to transparent, and cut.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import Final

from PIL import Image

from img_engine.render.animation import Disposal, FramePatch
from img_engine.render.reading.bounds import at_most

_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_CONTROL: Final = 0xF9
_SCREEN_BYTES: Final = 13
_MOST_BLOCKS: Final = 700_000
"""Blocks and sub-blocks, 178 MB if each is full. Pillow takes a third of a second for as many in front of a frame."""

_MOST_JUNK: Final = 2 * 1024 * 1024
"""Bytes outside of blocks in front of the first frame, which Pillow reads one by one in Python."""

_BLOCK: Final = re.compile(rb"[!,;]")

_DISPOSALS: Final = {2: Disposal.BACKGROUND, 3: Disposal.PREVIOUS}


@dataclass(frozen=True)
class _Control:
    """A graphic control extension, which applies to the next image."""

    hundredths: int = 0
    disposal: int = 0
    transparent: int | None = None


def read_gif(data: bytes, most: int) -> tuple[FramePatch, ...]:
    """Return its frames, `most` + 1 at most; those before the end if the file is cut off.

    Raises PictureRefused for more blocks, or more junk, than a GIF has.
    """
    if len(data) < _SCREEN_BYTES:
        return ()
    view = memoryview(data)
    colours = view[_SCREEN_BYTES : _SCREEN_BYTES + _palette_bytes(view[10])]
    at, control = _SCREEN_BYTES + len(colours), _Control()
    patches: list[FramePatch] = []
    blocks = junk = 0
    while at < len(view) and view[at] != _END and len(patches) <= most:
        at_most(_MOST_BLOCKS, blocks, "blocks")
        if view[at] == _EXTENSION and at + 1 < len(view):
            if view[at + 1] == _CONTROL and len(view) >= at + 8:
                flags, hundredths, transparent = struct.unpack_from("<BHB", view, at + 3)
                control = _Control(hundredths, flags >> 2 & 7, transparent if flags & 1 else None)
            at, count = skip_blocks(view, at + 2)
            blocks += count
        elif view[at] == _IMAGE and at + 10 < len(view):
            left, top, width, height, flags = struct.unpack_from("<HHHHB", view, at + 1)
            end, count = skip_blocks(view, at + 10 + _palette_bytes(flags) + 1)
            blocks += count
            if width and height:
                picture = _Picture((width, height), colours, view[at + 9 : end], control.transparent)
                disposal = _DISPOSALS.get(control.disposal, Disposal.NONE)
                shown, decode = 10.0 * control.hundredths, picture.decode
                patches.append(FramePatch((left, top), (width, height), shown, disposal, blend=True, decode=decode))
            at, control = end, _Control()
        else:
            found = _BLOCK.search(data, at + 1)  # junk between blocks is skipped, as browsers do
            next_at = found.start() if found else len(view)
            blocks, junk, at = blocks + 1, junk + (0 if patches else next_at - at), next_at
            at_most(_MOST_JUNK, junk, "bytes of no block in front of the first frame")
    at_most(_MOST_BLOCKS, blocks, "blocks")
    return tuple(patches)


@dataclass(frozen=True)
class _Picture:
    """One image of the file: its flags, its own colours if it has any, and its compressed pixels."""

    size: tuple[int, int]
    colours: memoryview
    content: memoryview
    transparent: int | None

    def decode(self) -> Image.Image:
        """Decode the picture. Raises what Pillow raises."""
        bits = (len(self.colours) // 3).bit_length() - 2
        screen = struct.pack("<HHBBB", *self.size, 0x80 | bits if self.colours else 0, 0, 0)
        control = (
            b""
            if self.transparent is None
            else struct.pack("<BBBBHBB", _EXTENSION, _CONTROL, 4, 1, 0, self.transparent, 0)
        )
        place = struct.pack("<BHHHH", _IMAGE, 0, 0, *self.size)
        file = b"".join((b"GIF89a", screen, self.colours, control, place, self.content, b"\0;"))
        with Image.open(io.BytesIO(file), formats=("GIF",)) as image:
            image.load()
            return image.copy()


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def skip_blocks(view: memoryview, at: int) -> tuple[int, int]:
    """Return where a chain of sub-blocks ends, and their number. One that is cut off or too long ends with the file."""
    for count in range(1, _MOST_BLOCKS + 1):
        if at >= len(view) or not view[at]:
            return min(at + 1, len(view)), count
        at += view[at] + 1
    return len(view), _MOST_BLOCKS + 1
