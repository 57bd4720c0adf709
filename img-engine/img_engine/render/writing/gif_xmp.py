"""XMP in a GIF: an application extension without sub-blocks, which ends like a chain of them (XMP Specification, 3)."""

from __future__ import annotations

from typing import BinaryIO, Final

_BEGIN: Final = b"!\xff\x0bXMP DataXMP"
_TRAILER: Final = b"\1" + bytes(range(255, -1, -1)) + b"\0"
"""Wherever a reader that takes the packet for sub-blocks comes out, it is led to the last byte."""


def read_xmp(file: BinaryIO) -> bytes:
    """Return the packet; nothing if there is none, or one without an end. Rewinds the file."""
    file.seek(0)
    data = file.read()
    file.seek(0)
    begin = data.find(_BEGIN)
    end = data.find(_TRAILER, begin) if begin >= 0 else -1
    return data[begin + len(_BEGIN) : end] if end >= 0 else b""


def with_xmp(gif: bytes, packet: bytes) -> bytes:
    """Add a packet to a GIF that was written here, behind its frames."""
    return b"".join((gif[:-1], _BEGIN, packet, _TRAILER, gif[-1:])) if packet else gif
