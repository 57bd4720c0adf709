"""What stays of an upload's XMP: what is true of the new file, or only what names the author.

XMP Specification, part 1 and 2; Google's and Adobe's schemas for panoramas, motion photos, depth and gain maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from xml.dom import minidom

_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS: Final = "http://www.w3.org/2000/xmlns/"
_XMP: Final = "http://ns.adobe.com/xap/1.0/"

_OF_THE_FILE: Final = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    "http://ns.google.com/photos/1.0/camera/": "motion photo",
    "http://ns.google.com/photos/1.0/container/": "list of embedded files",
    "http://ns.google.com/photos/1.0/panorama/": "panorama",
    "http://ns.google.com/photos/1.0/depthmap/": "depth map",
    "http://ns.google.com/photos/1.0/image/": "depth map",
    "http://ns.google.com/photos/1.0/audio/": "sound",
    "http://ns.adobe.com/xmp/note/": "extended XMP",
}
"""Schemas that describe pixels, or parts behind them, that the result has not; and what that is called."""

_SIZES: Final = frozenset({"ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension"})
_MEDIA_TYPE: Final = ("http://purl.org/dc/elements/1.1/", "format")
_OF_THE_AUTHOR: Final = frozenset(
    {
        ("http://purl.org/dc/elements/1.1/", "creator"),
        ("http://purl.org/dc/elements/1.1/", "rights"),
        ("http://ns.adobe.com/photoshop/1.0/", "Credit"),
    }
)
_RIGHTS: Final = "http://ns.adobe.com/xap/1.0/rights/"

_ORIENTATION: Final = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')
_SUSPECT: Final = re.compile(rb"Thumbnail|ns\.google\.com|hdr-gain-map|HDRGainMap|HasExtendedXMP")
"""In a packet that cannot be parsed, these may depict the old picture."""

_BEGIN: Final = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END: Final = b'<?xpacket end="w"?>'


def true_of_the_result(packet: bytes) -> tuple[bytes, list[str]]:
    """Return the packet without what depicts the old file or points into it, and what was left out, by name."""
    packet = _ORIENTATION.sub(rb"\g<1>1", packet)
    lost: set[str] = set()

    def stays(namespace: str, name: str) -> bool:
        if namespace in _OF_THE_FILE:
            lost.add(_OF_THE_FILE[namespace])
            return False
        if namespace == _XMP and name == "Thumbnails":
            lost.add("thumbnail")
            return False
        return name not in _SIZES and (namespace, name) != _MEDIA_TYPE

    changed = _filtered(packet, stays)
    if changed is None:
        return (b"", ["XMP"]) if _SUSPECT.search(packet) else (packet, [])
    return changed, sorted(lost)


def of_the_author(packet: bytes) -> bytes:
    """Return the packet with creator, credit and rights alone; nothing if it has none."""
    kept = False

    def stays(namespace: str, name: str) -> bool:
        nonlocal kept
        mine = namespace == _RIGHTS or (namespace, name) in _OF_THE_AUTHOR
        kept = kept or mine
        return mine

    changed = _filtered(packet, stays)
    return changed if changed and kept else b""


def _filtered(packet: bytes, stays: Callable[[str, str], bool]) -> bytes | None:
    """Remove properties, by their namespace and name, that do not stay; None if the packet cannot be parsed."""
    try:
        document = minidom.parseString(packet.strip(b"\0 \r\n\t"))  # noqa: S318  short, and expat bounds entities
    except Exception:  # noqa: BLE001  expat, and encodings of all kinds
        return None
    root = document.documentElement
    removed = False
    for about in _descriptions(document):
        for attribute in list(about.attributes.values()):
            space = attribute.namespaceURI or ""
            if space not in (_XMLNS, _RDF) and not stays(space, attribute.localName or attribute.name):
                about.removeAttributeNode(attribute)
                removed = True
        for child in list(about.childNodes):
            if isinstance(child, minidom.Element) and not stays(child.namespaceURI or "", child.localName or ""):
                about.removeChild(child)
                removed = True
    if root is None or not removed:
        return packet
    return _BEGIN + root.toxml().encode() + _END


def _descriptions(document: minidom.Document) -> Iterator[minidom.Element]:
    """Yield the elements whose attributes and children are properties of the whole picture."""
    for rdf in document.getElementsByTagNameNS(_RDF, "RDF"):
        for child in rdf.childNodes:
            if isinstance(child, minidom.Element) and child.localName == "Description":
                yield child
