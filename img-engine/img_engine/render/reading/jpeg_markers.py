"""The markers of a JPEG, walked before it is decoded, so that a file without a picture does not take long.

ITU-T T.81, annex B. Pillow reads what is in front of the pixels byte by byte in Python, and appends each EXIF
segment to all before it; libjpeg returns to the beginning of a run of fill bytes with each portion of the file that it
is given; and each scan of a few bytes goes over all pixels again.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import BinaryIO, Final

from img_engine.render.reading.bounds import at_most

MOST_SCANS: Final = 100
"""Also libtiff's limit for a JPEG in a TIFF; libjpeg and mozjpeg write some 10. 100 take a third of a second for 36
megapixels."""

MOST_SEGMENTS: Final = 10_000
"""The largest file that is accepted has 2,000 if each is full."""

MOST_OF_A_KIND: Final = 64
"""Of the kinds that Pillow parses in Python: 4 MB each. There are 4 tables of quantisation; EXIF has one segment."""

MOST_FILL: Final = 1024 * 1024
"""Bytes of fill and junk in front of the pixels: Pillow takes a sixth of a second. Some cameras leave kilobytes."""

_FILL_RUN: Final = 64 * 1024
"""A longer run among the pixels is looked into; no segment can hold so many."""

_SOS, _EOI, _DQT, _APP1, _APP13 = 0xDA, 0xD9, 0xDB, 0xE1, 0xED
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SEGMENTS: Final = frozenset({*range(0xC0, 0xF0), 0xFE} - {0xC8, *range(0xD0, 0xDA)})
"""Markers that a length follows."""

_PORTION: Final = 4096
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Any marker but an escaped 0xFF of the pixels, fill, or a restart between them."""


def check_markers(file: BinaryIO) -> None:
    """Raise PictureRefused for more segments, scans or fill bytes than a picture has. Rewinds the file."""
    try:
        at, several = _front(file)
        if at is not None and (several or _long_run(file, at)):
            _check_scans(file, at)
    finally:
        file.seek(0)


def _front(file: BinaryIO) -> tuple[int | None, bool]:
    """Return where the first scan's header ends, if there is one, and whether the picture has further scans."""
    at, fill, progressive, components = 2, 0, False, 0
    kinds: Counter[int] = Counter()
    while True:
        file.seek(at)
        head = file.read(_PORTION)
        if len(head) < 4:  # noqa: PLR2004  marker and length
            return None, False
        if head[0] != 0xFF or head[1] not in _SEGMENTS:  # noqa: PLR2004  what a marker begins with
            skipped = _to_a_segment(head)
            fill, at = fill + skipped, at + skipped
            at_most(MOST_FILL, fill, "bytes of fill between its segments")
            continue
        kind, length = head[1], int.from_bytes(head[2:4], "big")
        _count(kinds, kind, head)
        if kind in _FRAMES:
            progressive, components = kind in _PROGRESSIVE, head[9] if len(head) > 9 else 0  # noqa: PLR2004
        if kind == _SOS:
            return at + 2 + length, progressive or head[4:5] != bytes((components,))
        at += 2 + length


def _to_a_segment(head: bytes) -> int:
    """Count the bytes in front of what may be a segment, at least one: junk, fill, markers without content."""
    found = next((one.start() for one in _MARKER.finditer(head) if head[one.start() + 1] in _SEGMENTS), None)
    return found or max(1, len(head) - 1)  # the last byte may be a marker's first


def _count(kinds: Counter[int], kind: int, head: bytes) -> None:
    kinds[kind] += kind != _APP1 or head[4:8] == b"Exif"
    kinds[0] += 1
    at_most(MOST_SEGMENTS, kinds[0], "segments")
    if kind in (_DQT, _APP1, _APP13):
        at_most(MOST_OF_A_KIND, kinds[kind], f"segments of marker FF{kind:02X}")


def _long_run(file: BinaryIO, at: int) -> bool:
    """Return whether a run of fill follows that is longer than any segment. Reads 16 bytes in 64 KiB."""
    full = b"\xff" * _FILL_RUN
    while True:
        file.seek(at)
        first = file.read(16)
        if not first:
            return False
        if first == full[:16] and first + file.read(_FILL_RUN - 16) == full:
            return True
        at += _FILL_RUN


def _check_scans(file: BinaryIO, begin: int) -> None:
    """Walk from marker to marker up to the picture's end, and count."""
    file.seek(begin)
    data = file.read()
    run = data.find(b"\xff" * _FILL_RUN)
    at, scans, segments = 0, 1, 0
    while found := _MARKER.search(data, at, run if run >= 0 else len(data)):
        kind, start = data[found.start() + 1], found.start()
        scans += kind == _SOS
        segments += 1
        at_most(MOST_SCANS, scans, "scans")
        at_most(MOST_SEGMENTS, segments, "segments")
        if kind == _EOI:
            return
        at = start + 2 + (int.from_bytes(data[start + 2 : start + 4], "big") if kind in _SEGMENTS else 0)
    if run >= 0:
        at_most(_FILL_RUN - 1, _FILL_RUN, "bytes of fill in a row among its pixels")
