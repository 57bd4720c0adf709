"""The loop count of an animated AVIF, in the edit list of its track; Pillow neither reads nor writes it.

ISO/IEC 14496-12 (8.2.2 mvhd, 8.3.2 tkhd, 8.6.6 elst). Bit 0 of the edit list's flags: the edit is repeated, as often
as its duration fits into the track's. A duration of all ones: forever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_FOREVER: Final = 0
_FOLDERS: Final = (b"moov", b"trak", b"edts")

# The position of the duration after version and flags: 32 bits wide in version 0, 64 in 1.
_DURATION_AT: Final = {
    (b"mvhd", 0): 16,
    (b"mvhd", 1): 24,
    (b"tkhd", 0): 20,
    (b"tkhd", 1): 28,
    (b"elst", 0): 8,
    (b"elst", 1): 8,
}


@dataclass(frozen=True)
class _Box:
    """A full box of interest: its kind, where its content begins, and the version in its first byte."""

    kind: bytes
    at: int
    version: int

    @property
    def duration_at(self) -> int:
        return self.at + _DURATION_AT[self.kind, self.version]

    @property
    def format(self) -> str:
        return ">Q" if self.version else ">I"

    def duration(self, data: bytes) -> int:
        (found,) = struct.unpack_from(self.format, data, self.duration_at)
        return int(found)


def read_loop_count(data: bytes) -> int:
    """Return how often an AVIF is played; 0: forever, also if the file does not say."""
    boxes = {box.kind: box for box in _boxes(data, 0, len(data))}
    try:
        edits, track = boxes[b"elst"], boxes[b"tkhd"]
        if not data[edits.at + 3] & 1:
            return 1
        once, whole = edits.duration(data), track.duration(data)
        endless = (1 << 8 * struct.calcsize(track.format)) - 1
        return _FOREVER if whole == endless or not once else max(1, round(whole / once))
    except (KeyError, struct.error, IndexError):
        return _FOREVER


def with_loop_count(data: bytes, count: int) -> bytes:
    """Set how often an AVIF is played. Only for files that were written here, which have every box."""
    if count == _FOREVER:
        return data
    written = bytearray(data)
    boxes = list(_boxes(data, 0, len(data)))
    edits = next((box for box in boxes if box.kind == b"elst"), None)
    if edits is None:  # a single frame has no track
        return data
    once = edits.duration(data)
    written[edits.at + 3] = 1 if count > 1 else 0
    for box in boxes:
        if box.kind != b"elst":
            most = (1 << 8 * struct.calcsize(box.format)) - 2
            struct.pack_into(box.format, written, box.duration_at, min(once * count, most))
    return bytes(written)


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """Yield the boxes with durations, of the whole and of its first track."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        content = at + 8
        if length == 1 and at + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            content = at + 16
        if length < content - at or at + length > end:
            return
        if kind in _FOLDERS:
            yield from _boxes(data, content, at + length)
            if kind == b"trak":
                return  # the others follow the first
        elif (kind, data[content] if content < end else 0) in _DURATION_AT:
            yield _Box(kind, content, data[content])
        at += length
