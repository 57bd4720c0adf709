"""The pictures to work on: one photo, and what is derived from it. A folder keeps them until the photo changes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
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


def prepare(folder: Path, names: Collection[str]) -> str:
    """Write those of the named pictures that are not there yet. Returns what the photo is."""
    path, told = source()
    stamp = folder / "made-from"
    digest = hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stamp.write_text(digest)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        if path != _GIVEN:
            upright = ImageOps.fit(upright, _SIZE, _LANCZOS)
        for name in missing:
            unfinished = folder / f"unfinished-{name}"
            _write(name, upright, unfinished)
            unfinished.rename(folder / name)
    return told


def _write(name: str, upright: Image.Image, path: Path) -> None:
    match name:
        case "photo.jpg" if _GIVEN.exists():
            path.write_bytes(_GIVEN.read_bytes())  # as it is: encoded once
        case "photo.jpg":
            upright.save(path, quality=90, subsampling="4:2:0")
        case "12mp.jpg":
            upright.resize((4096, 3072), _LANCZOS).save(path, quality=90, subsampling="4:2:0")
        case "24mp.jpg":
            upright.resize((6000, 4000), _LANCZOS).save(path, quality=92, subsampling="4:2:0")
        case "small.jpg":
            upright.resize((1280, 960), _LANCZOS).save(path, quality=85)
        case "alpha.png":
            png = upright.resize((2048, 1536), _LANCZOS)
            png.putalpha(Image.linear_gradient("L").resize(png.size))
            png.save(path)
        case _:
            frames = _pan(upright.resize((1280, 960), _LANCZOS))
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, loop=0)


def _pan(image: Image.Image) -> list[Image.Image]:
    """A camera that moves over the picture from its upper left to its lower right."""
    across, down = image.width - _FRAME[0], image.height - _FRAME[1]
    corners = [(across * step // (_FRAMES - 1), down * step // (_FRAMES - 1)) for step in range(_FRAMES)]
    return [image.crop((x, y, x + _FRAME[0], y + _FRAME[1])) for x, y in corners]
