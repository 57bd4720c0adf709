"""Google's description of a panorama in XMP (GPano): its sizes are in pixels of the picture, and are scaled with it.

https://developers.google.com/streetview/spherical-metadata
"""

from __future__ import annotations

import re
from typing import Final
from xml.dom import minidom

from img_engine.render.writing.xmp import Property, parsed, properties, remove, serialised

_SPACE: Final = "http://ns.google.com/photos/1.0/panorama/"
_BY_WIDTH: Final = frozenset(
    {
        "FullPanoWidthPixels",
        "CroppedAreaImageWidthPixels",
        "CroppedAreaLeftPixels",
        "LargestValidInteriorRectLeft",
        "LargestValidInteriorRectWidth",
    }
)
_BY_HEIGHT: Final = frozenset(name.replace("Width", "Height").replace("Left", "Top") for name in _BY_WIDTH)
_NUMBER: Final = re.compile(r"\s*([0-9]{1,9})(?:\.[0-9]*)?\s*")

Scale = tuple[float, float]
"""Pixels of the result for each of the upload's, across and down."""


def describes_panorama(packet: bytes) -> bool:
    """Return whether a packet may have sizes of a panorama."""
    return _SPACE.encode() in packet


def scaled(packet: bytes, scale: Scale | None) -> tuple[bytes, bool]:
    """Return the packet with the sizes of the result, and whether they are all in it; None: they cannot be true."""
    document = parsed(packet)
    if document is None:
        return packet, True
    found = [one for one in properties(document) if one.namespaceURI == _SPACE]
    if scale is None:
        for one in found:
            remove(one)
        return serialised(document), not found
    for one in found:
        if one.localName in _BY_WIDTH | _BY_HEIGHT:
            number = _NUMBER.fullmatch(_text(one))
            if number is None:
                remove(one)
            else:
                _set(one, int(int(number[1]) * scale[one.localName in _BY_HEIGHT] + 0.5))
    return serialised(document), True


def _text(one: Property) -> str:
    if isinstance(one, minidom.Attr):
        return str(one.value)
    return "".join(str(child.data) for child in one.childNodes if isinstance(child, minidom.Text))


def _set(one: Property, number: int) -> None:
    if isinstance(one, minidom.Attr):
        one.value = str(number)
        return
    for child in list(one.childNodes):
        one.removeChild(child)
    document = one.ownerDocument
    if document is not None:
        one.appendChild(document.createTextNode(str(number)))
