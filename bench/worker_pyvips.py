"""libvips from Python: `thumbnail`, which shrinks on load, with the options that sharp passes to libvips."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyvips
from worker import serve

pyvips.cache_set_max(0)


class Pyvips:
    """`pyvips.Image.thumbnail`."""

    def __init__(self, avif_speed: int) -> None:
        self._effort = 9 - avif_speed  # libvips counts the other way

    def versions(self) -> dict[str, str | None]:
        """The package and the library."""
        return {"pyvips": version("pyvips"), "libvips": ".".join(str(pyvips.version(part)) for part in range(3))}

    def job(self, row: dict[str, Any]) -> Callable[[], int]:
        """From the file to bytes in memory."""
        return lambda: sum(len(data) for data in self._results(row))

    def save(self, row: dict[str, Any], folder: Path) -> list[str]:
        """One file for each width."""
        paths = []
        for number, data in enumerate(self._results(row)):
            path = folder / f"pyvips-{row['name']}-{number}.{row['format']}"
            path.write_bytes(data)
            paths.append(str(path))
        return paths

    def _results(self, row: dict[str, Any]) -> list[bytes]:
        path = row["path"] + ("[n=-1]" if row["source"] == "gif" else "")
        return [
            self._encoded(pyvips.Image.thumbnail(path, width, height=10_000_000, size="down"), row)
            for width in row["widths"]
        ]

    def _encoded(self, image: Any, row: dict[str, Any]) -> bytes:
        quality = row["quality"]
        match row["format"]:
            case "jpeg":
                return bytes(image.jpegsave_buffer(Q=quality, optimize_coding=True, keep="none"))
            case "png":
                return bytes(image.pngsave_buffer(compression=6, keep="none"))
            case "webp":
                return bytes(image.webpsave_buffer(Q=quality, effort=4, keep="none"))
            case "avif":
                options = {"compression": "av1", "effort": self._effort, "subsample_mode": "on", "bitdepth": 8}
                return bytes(image.heifsave_buffer(Q=quality, keep="none", **options))
            case _:
                return bytes(image.gifsave_buffer(keep="none"))


if __name__ == "__main__":
    serve(Pyvips(int(sys.argv[1])))
