"""What stays of an upload's XMP: what is true of the new file, or only what names the author.

XMP Specification, part 1 and 2; Google's and Adobe's schemas for panoramas, motion photos, depth and gain maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from xml.dom import minidom
from xml.sax.saxutils import escape

RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMLNS: Final = "http://www.w3.org/2000/xmlns/"
_XMP: Final = "http://ns.adobe.com/xap/1.0/"

Property = minidom.Attr | minidom.Element

_OF_THE_FILE: Final = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    "http://ns.google.com/photos/1.0/camera/": "motion photo",
    "http://ns.google.com/photos/1.0/container/": "list of embedded files",
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

MOST_BYTES: Final = 1024 * 1024
_MOST_NAMESPACES: Final = 1000
_MOST_NODES: Final = 20_000
"""Tags and attributes. A picture edited for years has some thousands; 20,000 take half a second."""

_ORIENTATION: Final = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')
_SUSPECT: Final = re.compile(rb"Thumbnail|ns\.google\.com|hdr-gain-map|HDRGainMap|HasExtendedXMP")
"""In a packet that cannot be parsed, these may depict the old picture."""

_NAMES: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">'
    "{}</rdf:Description></rdf:RDF></x:xmpmeta>"
)
_ELEMENTS: Final = {
    "creator": "<dc:creator><rdf:Seq><rdf:li>{}</rdf:li></rdf:Seq></dc:creator>",
    "credit": "<photoshop:Credit>{}</photoshop:Credit>",
    "rights": '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:rights>',
}

_LOCAL: Final = {"creator": "creator", "credit": "Credit", "rights": "rights"}

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

    changed = filtered(packet, stays)
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

    changed = filtered(packet, stays)
    return changed if changed and kept else b""


def with_names(packet: bytes, names: dict[str, str]) -> bytes:
    """Add the names of creator, credit and rights (by these keys) that a packet of `of_the_author` has not."""
    document = parsed(packet)
    there = {one.localName for one in properties(document)} if document else set()
    missing = [_ELEMENTS[key].format(escape(name)) for key, name in names.items() if _LOCAL[key] not in there and name]
    if not missing:
        return packet
    added = minidom.parseString(_NAMES.format("".join(missing)))  # noqa: S318  of our own making
    target = next(rdf_of(document), None) if document else None
    if document is None or target is None:
        return serialised(added)
    for child in list(descriptions(added)):
        target.appendChild(child)
    return serialised(document)


def too_long(packet: bytes) -> bool:
    """Return whether a packet would take seconds to parse and change."""
    nodes = packet.count(b"<") + packet.count(b"=")
    return len(packet) > MOST_BYTES or nodes > _MOST_NODES or packet.count(b"xmlns") > _MOST_NAMESPACES


def parsed(packet: bytes) -> minidom.Document | None:
    """Parse a packet; None if that is not possible."""
    try:
        return minidom.parseString(packet.strip(b"\0 \r\n\t"))  # noqa: S318  short, and expat bounds entities
    except Exception:  # noqa: BLE001  expat, and encodings of all kinds
        return None


def serialised(document: minidom.Document) -> bytes:
    """Return the packet of a document."""
    return _BEGIN + bare(document) + _END


def bare(document: minidom.Document) -> bytes:
    """Return a document without the wrapper of a packet."""
    root = document.documentElement
    return root.toxml().encode() if root is not None else b""


def filtered(packet: bytes, stays: Callable[[str, str], bool]) -> bytes | None:
    """Remove properties, by their namespace and name, that do not stay; None if the packet cannot be parsed."""
    document = parsed(packet)
    if document is None:
        return None
    gone = [one for one in properties(document) if not stays(one.namespaceURI or "", one.localName or one.nodeName)]
    for one in gone:
        remove(one)
    return serialised(document) if gone else packet


def remove(one: Property) -> None:
    """Remove a property from its document."""
    if isinstance(one, minidom.Attr):
        if one.ownerElement is not None:
            one.ownerElement.removeAttributeNode(one)
    elif one.parentNode is not None:
        one.parentNode.removeChild(one)


def properties(document: minidom.Document) -> list[Property]:
    """Return the properties of the whole picture: attributes and children of its descriptions."""
    found: list[Property] = []
    for about in descriptions(document):
        found += [one for one in about.attributes.values() if (one.namespaceURI or "") not in (XMLNS, RDF)]
        found += [one for one in about.childNodes if isinstance(one, minidom.Element)]
    return found


def descriptions(document: minidom.Document) -> Iterator[minidom.Element]:
    """Yield the elements that have the properties of the whole picture."""
    for rdf in rdf_of(document):
        for child in rdf.childNodes:
            if isinstance(child, minidom.Element) and child.localName == "Description":
                yield child


def rdf_of(document: minidom.Document) -> Iterator[minidom.Element]:
    """Yield the elements that have the descriptions; there is one."""
    yield from document.getElementsByTagNameNS(RDF, "RDF")
