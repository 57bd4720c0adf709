"""Text that only grows, a file for each hour: a job's line costs a write, no file of its own and no flush.

Every line is written at once, at the end of the file, so that any number of processes may write. A line may be lost: in
a power cut, on a full disk, or where two machines write to a network file system. What is damaged is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from img_contract.failpoints import failpoint
from img_contract.regular_file import open_regular
from img_contract.volume.files import names_in

HOUR: Final = re.compile(r"[0-9]{10}")
"""The name of a file: 2026112604, in UTC."""

_BLOCK: Final = 64 * 1024
"""Bytes that are read at once; no line has as many."""

_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK

log = structlog.get_logger(__name__)


class Journal:
    """The files in one folder. Reading raises OSError; writing raises nothing. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, words: list[str]) -> None:
        """Add a line, which begins with its time. If it cannot be written, that is logged, and the line is lost."""
        line = f"{' '.join(words)}\n".encode()
        at = words[0]
        try:
            failpoint("journal.write")
            # Not kept open: a volume that is being written to cannot be made read-only or be unmounted.
            descriptor = os.open(f"{self.folder}/{at[:8]}{at[9:11]}", _APPENDING, 0o666)
            try:
                if os.write(descriptor, line) < len(line):
                    os.write(descriptor, b"\n")  # so that the next line is not a part of this one
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("journal_line_lost", folder=self.folder.name, reason=str(error))

    def hours(self) -> list[str]:
        """Name the hours that have a file, the latest first."""
        with suppress(FileNotFoundError):
            return sorted(filter(HOUR.fullmatch, names_in(self.folder)), reverse=True)
        return []

    def backwards(self, hour: str, before: int | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield the lines of an hour that end before an offset, the last first, each with the offset of its start."""
        try:
            file = open_regular(self.folder / hour)
        except FileNotFoundError:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            end = size if before is None else min(before, size)
            while end > 0:
                start = max(0, end - _BLOCK)
                block = os.pread(file.fileno(), end - start, start)
                # Where the block does not begin the file, its first line has begun above it, and is read with that.
                skipped = block.find(b"\n") + 1 if start else 0
                at = end
                for line in reversed(block[skipped:].split(b"\n")):
                    at -= len(line)
                    if line:
                        yield at, _words(line)
                    at -= 1  # the end of the line before
                end = start + skipped if 0 < start + skipped < end else start

    def forwards(self, hour: str, offset: int, most: int) -> tuple[list[tuple[int, list[str]]], int]:
        """Return the complete lines of an hour from an offset on, with their offsets, and the offset after them.

        At most so many bytes are read; 64 KiB without the end of a line are damage, and passed over.
        """
        try:
            file = open_regular(self.folder / hour)
        except FileNotFoundError:
            return [], offset
        with file:
            block = os.pread(file.fileno(), most, offset)
        complete = block[: block.rfind(b"\n") + 1]
        lines, at = [], offset
        for line in complete.split(b"\n")[:-1]:
            if line:
                lines.append((at, _words(line)))
            at += len(line) + 1
        return lines, at if complete or len(block) < _BLOCK else offset + len(block)

    def modified(self, hour: str) -> float:
        """Return when the file of an hour was last written to, in seconds since the epoch. Raises FileNotFoundError."""
        return (self.folder / hour).lstat().st_mtime

    def remove(self, hour: str) -> None:
        """Remove the file of an hour, if there is one."""
        (self.folder / hour).unlink(missing_ok=True)


def hour_of(moment: datetime) -> str:
    """Return the name of the file that a moment's lines are in."""
    return f"{moment.astimezone(UTC):%Y%m%d%H}"


def _words(line: bytes) -> list[str]:
    return line.decode("ascii", "replace").split(" ")
