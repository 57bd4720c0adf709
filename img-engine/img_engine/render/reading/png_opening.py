"""Opening a PNG with Pillow, which refuses a file for a checksum of a chunk that nobody needs.

Chunks that are damaged and not necessary are left out, as libpng and browsers do; and so are all those of an animation
if one of them is damaged: what remains is the still picture (PNG, third edition, 13.1 and 13.2).
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from img_contract.job.formats import Format
from PIL import Image

from img_engine.render.formats import DECODERS
from img_engine.render.reading.png_chunks import Notes, Place, complete

_COLOURS: Final = frozenset({b"iCCP", b"sRGB", b"cICP", b"gAMA", b"cHRM"})


def open_png(file: BinaryIO, notes: Notes) -> tuple[Image.Image, bool]:
    """Open a PNG, and return whether its animation had to be left out. Raises what Pillow raises."""
    if not notes.animation_damaged:
        try:
            return _opened(file, notes, notes.damaged), False
        except Exception:
            if not notes.animation:
                raise
    return _opened(file, notes, (*notes.damaged, *notes.animation)), True


def damaged_colours(notes: Notes) -> list[str]:
    """Return the names of the damaged chunks that say what the colours mean."""
    return sorted({place.kind.decode() for place in notes.damaged if place.kind in _COLOURS})


def _opened(file: BinaryIO, notes: Notes, left_out: tuple[Place, ...]) -> Image.Image:
    image = Image.open(_without(file, left_out) if left_out else file, formats=DECODERS[Format.PNG])
    complete(image, notes)
    return image


def _without(file: BinaryIO, places: tuple[Place, ...]) -> BinaryIO:
    """Return a copy of the file without these chunks."""
    file.seek(0)
    data = memoryview(file.read())
    kept, at = [], 0
    for place in sorted(places, key=lambda place: place.begin):
        kept.append(data[at : place.begin])
        at = place.end
    return io.BytesIO(b"".join((*kept, data[at:])))
