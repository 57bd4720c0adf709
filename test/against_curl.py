"""Time the command `img` against `xargs -P8 curl`, in turns: 200 photos of 600 kB, resized to about 800 pixels.

python test/against_curl.py [rounds]
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from img_testing.service import BIN, TOP, Service
from PIL import Image

PHOTOS = 200
CURL = (
    "ls {pictures} | xargs -P8 -I% curl -sfL -F file=@{pictures}/% -F width={width} '{url}/resize?wait=60' -o {out}/%"
)
IMG = "{img} resize {pictures} -o {out} -w {width} --server {url}"


def make_photos(folder: Path) -> None:
    """Write the sample picture so many times, each with a comment of its own."""
    with Image.open(TOP / "photo.jpg") as image:
        for number in range(PHOTOS):
            picture = io.BytesIO()
            image.save(picture, "JPEG", quality=93, comment=f"photo {number}")
            (folder / f"{number:03}.jpg").write_bytes(picture.getvalue())


def seconds(command: str, out: Path) -> float:
    """Run a command that is to make all results, and return how long it took."""
    out.mkdir()
    began = time.monotonic()
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    took = time.monotonic() - began
    assert len(list(out.iterdir())) == PHOTOS, "a result is missing"
    return took


def main(rounds: int) -> None:
    """Print how long each took, round by round, and their medians."""
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), rounds)


def measure(folder: Path, rounds: int) -> None:
    """Do so with files in a folder."""
    pictures = folder / "in"
    pictures.mkdir()
    make_photos(pictures)
    service = Service(folder)
    service.start_rest()
    service.start_engine()
    took: dict[str, list[float]] = {"xargs -P8 curl": [], "img": []}
    try:
        for number in range(rounds):
            for name, command in zip(took, (CURL, IMG), strict=True):
                out = folder / f"{number}-{len(name)}"
                values = {
                    "pictures": pictures,
                    "out": out,
                    "url": service.url,
                    "img": BIN / "img",
                    "width": 800 + number,
                }
                took[name].append(seconds(command.format(**values), out))
    finally:
        service.stop()
    size = next(pictures.iterdir()).stat().st_size
    for name, all_of_it in took.items():
        rounds_told = ", ".join(f"{one:.1f}" for one in all_of_it)
        print(f"{name}: median {statistics.median(all_of_it):.1f} s ({rounds_told}); {PHOTOS} photos of {size} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
