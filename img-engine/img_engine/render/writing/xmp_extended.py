"""XMP in a JPEG, whose segments are too short for long packets: the standard packet, and what is in further segments.

XMP Specification, part 3, 1.1.3.1.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from typing import Final
from xml.dom import minidom

from img_engine.render.writing.xmp import (
    MOST_BYTES,
    RDF,
    XMLNS,
    bare,
    descriptions,
    filtered,
    parsed,
    properties,
    rdf_of,
    remove,
    too_long,
)
from img_engine.render.writing.xmp import serialised as whole

_STANDARD: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\0"
_NOTE: Final = "http://ns.adobe.com/xmp/note/"
_GUID: Final = re.compile(rb"""HasExtendedXMP\s*(?:=\s*["']|>)\s*([0-9A-Fa-f]{32})""")
_HEAD: Final = struct.Struct(">32sII")
"""GUID, bytes of the whole extension, offset of this part."""

_SEGMENT: Final = 65_533
"""Bytes that follow a segment's length."""

_MOST_STANDARD: Final = _SEGMENT - len(_STANDARD)
_PART: Final = _SEGMENT - len(_EXTENSION) - _HEAD.size
_NOTE_BYTES: Final = 200
_MOST_DESCRIPTIONS: Final = 50
"""Of the whole picture; programs write one, or one for each of their namespaces."""


def with_extension(packet: bytes, segments: Iterable[bytes]) -> bytes:
    """Return one packet of a standard packet and its extension; the former as it is if the latter is not whole.

    `segments`: the contents of the JPEG's APP1. An extension that is too long is left out.
    """
    named = _GUID.search(packet)
    if named is None:
        return packet
    extension = _joined(named[1], segments)
    if too_long(packet + extension):
        return packet
    document, added = parsed(packet), parsed(extension)
    target = next(rdf_of(document), None) if document else None
    if document is None or added is None or target is None:
        return packet
    for about in list(descriptions(added))[:_MOST_DESCRIPTIONS]:
        _declare(about)
        target.appendChild(about)
    merged = whole(document)
    return filtered(merged, lambda namespace, _: namespace != _NOTE) or packet


def xmp_segments(packet: bytes) -> bytes | None:
    """Return the segments of a JPEG that have a packet; None if it cannot be taken apart."""
    if len(packet) <= _MOST_STANDARD:
        return _segment(_STANDARD + packet)
    document = parsed(packet)
    if document is None or len(list(descriptions(document))) > _MOST_DESCRIPTIONS:
        return None
    standard, extension = _split(document)
    if len(standard) > _MOST_STANDARD:
        return None
    guid = _guid(extension).encode()
    parts = [
        _segment(_EXTENSION + _HEAD.pack(guid, len(extension), at) + extension[at : at + _PART])
        for at in range(0, len(extension), _PART)
    ]
    return b"".join((_segment(_STANDARD + standard), *parts))


def _segment(content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xE1, len(content) + 2) + content


def _joined(guid: bytes, segments: Iterable[bytes]) -> bytes:
    """Return the extension with that GUID; nothing if a part of it is missing."""
    parts: dict[int, bytes] = {}
    length = 0
    for segment in segments:
        if segment.startswith(_EXTENSION) and len(segment) >= len(_EXTENSION) + _HEAD.size:
            its_guid, length_said, at = _HEAD.unpack_from(segment, len(_EXTENSION))
            if its_guid == guid and length_said <= MOST_BYTES:
                parts[at], length = segment[len(_EXTENSION) + _HEAD.size :], length_said
    joined = bytearray()
    for at in sorted(parts):
        if at != len(joined):
            return b""
        joined += parts[at]
    return bytes(joined) if len(joined) == length else b""


def _split(document: minidom.Document) -> tuple[bytes, bytes]:
    """Move the largest properties to an extension until the rest fits into a segment; return both."""
    extension = minidom.parseString(  # noqa: S318  of our own making
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
    )
    target = next(rdf_of(extension))
    excess = len(whole(document)) + _NOTE_BYTES - _MOST_STANDARD
    by_size = sorted((-len(_text(one)), number, one) for number, one in enumerate(properties(document)))
    moved: dict[int, minidom.Element] = {}
    for size, _, one in by_size:
        if excess <= 0:
            break
        about = one.ownerElement if isinstance(one, minidom.Attr) else one.parentNode
        if not isinstance(about, minidom.Element):
            continue
        if id(about) not in moved:
            _declare(about)
            moved[id(about)] = there = _described_alike(about, extension)
            target.appendChild(there)
        if isinstance(one, minidom.Attr):
            moved[id(about)].setAttributeNS(one.namespaceURI, one.name, one.value)
            remove(one)
        else:
            moved[id(about)].appendChild(one)
        excess += size
    content = bare(extension)
    for about in list(descriptions(document))[:1]:
        about.setAttributeNS(XMLNS, "xmlns:xmpNote", _NOTE)
        about.setAttributeNS(_NOTE, "xmpNote:HasExtendedXMP", _guid(content))
    return whole(document), content


def _described_alike(about: minidom.Element, extension: minidom.Document) -> minidom.Element:
    """Return a description of the same, with the same namespaces, but without properties."""
    there = extension.createElementNS(RDF, about.tagName)
    for one in about.attributes.values():
        if (one.namespaceURI or "") in (XMLNS, RDF):
            there.setAttributeNS(one.namespaceURI, one.name, one.value)
    return there


def _guid(extension: bytes) -> str:
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def _text(one: minidom.Attr | minidom.Element) -> bytes:
    return one.toxml().encode() if isinstance(one, minidom.Element) else f' {one.name}="{one.value}"'.encode()


def _declare(about: minidom.Element) -> None:
    """Repeat the declarations of namespaces of all that is around an element, so that it can be moved."""
    around = about.parentNode
    while isinstance(around, minidom.Element):
        for one in around.attributes.values():
            if one.namespaceURI == XMLNS and not about.hasAttribute(one.name):
                about.setAttributeNS(XMLNS, one.name, one.value)
        around = around.parentNode
