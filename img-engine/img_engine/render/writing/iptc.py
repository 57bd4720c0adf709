"""IPTC in a JPEG: the block of Photoshop's that has it, and its datasets (IPTC-NAA IIM 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

_RESOURCE: Final = 0x0404
_MOST_BYTES: Final = 65_533 - 30
"""Of IPTC in a segment."""

_OF_THE_AUTHOR: Final = frozenset({(1, 90), (2, 80), (2, 110), (2, 116)})
"""Coded character set, by-line, credit, copyright notice."""


def read_iptc(resources: Any) -> bytes:
    """Return the IPTC in Photoshop's resources, as Pillow reads them; nothing if there is none."""
    found = resources.get(_RESOURCE) if isinstance(resources, dict) else None
    return found if isinstance(found, bytes) else b""


def of_the_author(iptc: bytes) -> bytes:
    """Return the datasets that name the author alone; nothing if there are none."""
    kept = [(kind, whole) for kind, whole in _datasets(iptc) if kind in _OF_THE_AUTHOR]
    return b"".join(whole for _, whole in kept) if any(kind[0] > 1 for kind, _ in kept) else b""


def iptc_segment(iptc: bytes) -> bytes | None:
    """Return the segment of a JPEG that has it; None if it is too long."""
    if len(iptc) > _MOST_BYTES:
        return None
    resource = b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    content = b"Photoshop 3.0\0" + resource
    return struct.pack(">BBH", 0xFF, 0xED, len(content) + 2) + content


def _datasets(iptc: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield record and number of each dataset, and its bytes, up to the first that is damaged or extended."""
    at = 0
    while at + 5 <= len(iptc) and iptc[at] == 0x1C:  # noqa: PLR2004  what a dataset begins with
        record, number, length = struct.unpack_from(">BBH", iptc, at + 1)
        if length & 0x8000 or at + 5 + length > len(iptc):
            return
        yield (record, number), iptc[at : at + 5 + length]
        at += 5 + length
