"""The engine's renderer, as its children run it: from the upload's file to a flushed file, with its SHA-256."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ours
from worker import serve


class Ours:
    """`img_engine.render.render`."""

    def __init__(self, folder: Path) -> None:
        self._target = folder / "result"

    def versions(self) -> dict[str, str | None]:
        """Python's own, and what the engine stands on."""
        return {"python": sys.version.split()[0], **ours.versions()}

    def job(self, row: dict[str, Any]) -> Callable[[], int]:
        """One task, again and again, each time into new files as in the service."""
        task = ours.task(row, self._target)

        def once() -> int:
            size = 0
            for path in ours.run(task):
                size += path.stat().st_size
                path.unlink()
            return size

        return once

    def save(self, row: dict[str, Any], folder: Path) -> list[str]:
        """One file for each width."""
        written = ours.run(ours.task(row, self._target))
        kept = [folder / f"ours-{row['name']}-{number}.{row['format']}" for number in range(len(written))]
        return [str(shutil.move(path, copy)) for path, copy in zip(written, kept, strict=True)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as own:
        serve(Ours(Path(own)))
