"""Files that are being written, beside where they go: they get their names when they are complete."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def draft(folder: Path | None) -> Iterator[IO[bytes]]:
    """Give a new, hidden file in a folder, which is made if need be; without one, a file in memory.

    It is gone afterwards, unless it was renamed.
    """
    if folder is None:
        yield io.BytesIO()
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}.part"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)
