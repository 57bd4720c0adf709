"""The pictures to work on: one photo, and what is derived from it. A folder keeps them until the photo changes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

TOP: Final = Path(__file__).resolve().parents[1]
_GIVEN: Final = TOP.parent / "shared" / "bench" / "sharp-2725x2225.jpg"
_OWN: Final = TOP / "photo.jpg"
_SIZE: Final = (2725, 2225)
_LANCZOS: Final = Image.Resampling.LANCZOS
_FRAMES: Final = 20
_FRAME: Final = (480, 360)


def source() -> tuple[Path, str]:
    """The photo that all is made from, and what the report says of it."""
    if _GIVEN.exists():
        return _GIVEN, "that of sharp's own benchmark, 2725×2225"
    return _OWN, "`photo.jpg` of this repository, enlarged to 2725×2225"


def prepare(folder: Path) -> str:
    """Write the pictures that are not there yet. Returns what the photo is."""
    path, told = source()
    stamp = folder / "made-from"
    digest = hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, folder)
        stamp.write_text(digest)
    return told


def _write(path: Path, folder: Path) -> None:
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if path == _GIVEN:
        (folder / "photo.jpg").write_bytes(path.read_bytes())  # as it is: encoded once
    else:
        upright = ImageOps.fit(upright, _SIZE, _LANCZOS)
        upright.save(folder / "photo.jpg", quality=90, subsampling="4:2:0")
    upright.resize((4096, 3072), _LANCZOS).save(folder / "12mp.jpg", quality=90, subsampling="4:2:0")
    upright.resize((6000, 4000), _LANCZOS).save(folder / "24mp.jpg", quality=92, subsampling="4:2:0")
    upright.resize((1280, 960), _LANCZOS).save(folder / "small.jpg", quality=85)
    png = upright.resize((2048, 1536), _LANCZOS)
    png.putalpha(Image.linear_gradient("L").resize(png.size))
    png.save(folder / "alpha.png")
    frames = _pan(upright.resize((1280, 960), _LANCZOS))
    frames[0].save(folder / "frames.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)


def _pan(image: Image.Image) -> list[Image.Image]:
    """A camera that moves over the picture from its upper left to its lower right."""
    across, down = image.width - _FRAME[0], image.height - _FRAME[1]
    corners = [(across * step // (_FRAMES - 1), down * step // (_FRAMES - 1)) for step in range(_FRAMES)]
    return [image.crop((x, y, x + _FRAME[0], y + _FRAME[1])) for x, y in corners]
