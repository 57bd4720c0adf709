"""Boxes that are added to an AVIF or a HEIC of a single item (ISO/IEC 14496-12, 23008-12)."""

from __future__ import annotations

import struct


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_property(data: bytes, one: bytes, *, associated: bool = True) -> bytes:
    """The same file with one more property, of its first item unless told otherwise."""
    changed = bytearray(data)
    _insert(changed, [b"meta", b"iprp", b"ipco"], one)
    if associated:
        start = changed.index(b"ipco") - 4
        (length,) = struct.unpack_from(">I", changed, start)
        count, at = 0, start + 8
        while at < start + length:
            at += struct.unpack_from(">I", changed, at)[0]
            count += 1
        table = changed.index(b"ipma") + 4
        changed[table + 10] += 1  # properties of the first item: version 0, narrow
        place = table + 11 + changed[table + 10] - 1
        essential = 0x80 if one[4:8] == b"clap" else 0
        _insert(changed, [b"meta", b"iprp", b"ipma"], bytes((essential | count,)), place)
    return bytes(changed)


def with_item(data: bytes, kind: bytes) -> bytes:
    """The same file that names one more item, without content."""
    changed = bytearray(data)
    at = changed.index(b"iinf") + 8
    (count,) = struct.unpack_from(">H", changed, at)
    struct.pack_into(">H", changed, at, count + 1)
    _insert(changed, [b"meta", b"iinf"], box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 99, 0) + kind + b"\0"))
    return bytes(changed)


def _insert(data: bytearray, path: list[bytes], one: bytes, place: int | None = None) -> None:
    """Put bytes at the end of a box, or at a place within; what encloses it grows, and what is behind it moves."""
    at = 0
    starts = []
    for kind in path:
        at = data.index(kind, at) - 4
        starts.append(at)
    (length,) = struct.unpack_from(">I", data, starts[-1])
    for start in starts:
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(one))
    end = starts[-1] + length if place is None else place
    data[end:end] = one
    _move(data, end, len(one))


def _move(data: bytearray, behind: int, by: int) -> None:
    """Correct where the items lie (iloc, version 0 or 1, offsets of 32 bits) and the samples of a track (stco)."""
    at = data.index(b"iloc") + 4
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    (count,) = struct.unpack_from(">H", data, at + 6)
    at += 8
    for _ in range(count):
        at += 2 + (2 if version else 0) + 2
        based = sizes >> 4 & 0xF
        if based:
            (base,) = struct.unpack_from(">I", data, at)
            struct.pack_into(">I", data, at, base + by)
            at += based
        (extents,) = struct.unpack_from(">H", data, at)
        at += 2
        for _ in range(extents):
            (offset,) = struct.unpack_from(">I", data, at)
            if offset >= behind and not based:
                struct.pack_into(">I", data, at, offset + by)
            at += 8
    found = -1
    while (found := data.find(b"stco", found + 1)) >= 0:
        (chunks,) = struct.unpack_from(">I", data, found + 8)
        for number in range(chunks):
            place = found + 12 + 4 * number
            (offset,) = struct.unpack_from(">I", data, place)
            struct.pack_into(">I", data, place, offset + by)
