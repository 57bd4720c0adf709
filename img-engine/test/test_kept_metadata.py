"""Metadata that is kept is true of the result, and what is lost is named."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import WarningCode
from img_engine.render.task import RenderOutcome
from img_engine.render.writing import iptc as iim
from img_engine.render.writing import xmp
from img_testing.bombs import segment
from img_testing.samples import codes, encoded, photo
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]

THUMBNAIL = base64.b64encode(encoded(photo((64, 48)), "JPEG")).decode()


def packet(attributes: str = "", children: str = "") -> bytes:
    """An XMP packet with these properties of the whole picture."""
    spaces = {
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
        "dc": "http://purl.org/dc/elements/1.1/",
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
        "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
        "GCamera": "http://ns.google.com/photos/1.0/camera/",
        "GPano": "http://ns.google.com/photos/1.0/panorama/",
        "xmpNote": "http://ns.adobe.com/xmp/note/",
    }
    named = " ".join(f'xmlns:{name}="{space}"' for name, space in spaces.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {named} {attributes}>{children}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


RIGHTS = "<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>(c) somebody</rdf:li></rdf:Alt></dc:rights>"
CREATOR = "<dc:creator><rdf:Seq><rdf:li>somebody</rdf:li></rdf:Seq></dc:creator>"
THUMBNAILS = (
    "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'>"
    f"<xmpGImg:image>{THUMBNAIL}</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>"
)


def dataset(record: int, number: int, content: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(content)) + content


IPTC = b"".join(
    (
        dataset(1, 90, b"\x1b%G"),
        dataset(2, 80, b"somebody"),
        dataset(2, 116, b"(c) IPTC"),
        dataset(2, 120, b"a caption"),
    )
)


def told() -> bytes:
    """A JPEG with all of it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"Maker\0" + encoded(photo((64, 48)), "JPEG")
    attributes = 'xmp:Label="blue" tiff:Orientation="6" tiff:ImageWidth="80" hdrgm:Version="1.0" photoshop:Credit="us"'
    more = ' GCamera:MicroVideoOffset="1234" GPano:FullPanoWidthPixels="80" xmpNote:HasExtendedXMP="ABC"'
    whole = packet(attributes + more, RIGHTS + CREATOR + THUMBNAILS)
    data = encoded(photo((80, 60)), "JPEG", exif=exif, xmp=whole, comment=b"a comment", dpi=(300, 200))
    return data[:20] + (iim.iptc_segment(IPTC) or b"") + data[20:]


def resources(image: Image.Image) -> Any:
    return image.info.get("photoshop", {}).get(0x0404)


def test_what_is_true_is_kept_and_the_rest_is_named(rendered: Rendered) -> None:
    image, result = rendered(told(), crop="0,0,40,40", width=40, metadata="keep")
    assert resources(image) == IPTC
    assert image.info["comment"] == b"a comment"
    assert image.info["dpi"] == (300, 200)
    kept = image.info["xmp"]
    assert b'xmp:Label="blue"' in kept
    assert b'tiff:Orientation="1"' in kept
    assert b"(c) somebody" in kept
    gone = (b"ImageWidth", b"hdrgm:Version", b"Offset", b"FullPano", b"HasExtended", b"Thumbnails")
    assert not any(name in kept for name in gone)
    assert codes(result) == [WarningCode.GAIN_MAP_DROPPED, WarningCode.METADATA_DROPPED]
    for name in ("thumbnail", "maker note", "motion photo", "panorama", "extended XMP", "gain map"):
        assert name in result.warnings[1].detail


def test_of_copyright_all_three_places_count(rendered: Rendered) -> None:
    image, result = rendered(told(), width=40, metadata="copyright")
    assert image.getexif()[ExifTags.Base.Artist] == "somebody"
    assert resources(image) == IPTC[: -len(dataset(2, 120, b"a caption"))]
    kept = image.info["xmp"]
    assert all(name in kept for name in (b"(c) somebody", b"dc:creator", b'photoshop:Credit="us"'))
    assert b"Label" not in kept
    assert "comment" not in image.info
    assert image.info["jfif_unit"] == 0
    assert codes(result) == [WarningCode.GAIN_MAP_DROPPED]


@pytest.mark.parametrize("output", ["png", "webp", "avif", "tiff", "gif"])
def test_what_a_format_cannot_hold_is_named(output: str, rendered: Rendered) -> None:
    _, result = rendered(told(), width=40, metadata="keep", format=output)
    lost = " ".join(warning.detail for warning in result.warnings)
    assert "IPTC" in lost
    assert ("comment" in lost) is (output not in ("png", "gif"))
    assert ("resolution" in lost) is (output not in ("png", "tiff"))


@pytest.mark.parametrize("output", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_resolution_is_kept(kind: str, output: str, rendered: Rendered) -> None:
    image, _ = rendered(encoded(photo((80, 60)), kind, dpi=(300, 300)), width=40, metadata="keep", format=output)
    assert [round(float(number)) for number in image.info["dpi"]] == [300, 300]


@pytest.mark.parametrize("output", ["jpeg", "png"])
def test_texts_of_a_png_are_kept(output: str, rendered: Rendered) -> None:
    texts = PngInfo()
    texts.add_text("Title", "a title")
    texts.add_itxt("Comment", "said ✓", zip=True)
    _, result = rendered(encoded(photo((80, 60)), "PNG", pnginfo=texts), width=40, metadata="keep", format=output)
    written = result.files[0].path.read_bytes()
    assert "Title: a title\nsaid ✓".encode() in written
    assert result.warnings == ()


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif", "tiff", "gif"])
@pytest.mark.parametrize("metadata", ["strip", "copyright", "keep"])
def test_no_earlier_picture_leaks(metadata: str, output: str, rendered: Rendered) -> None:
    _, result = rendered(told(), crop="0,0,40,40", width=40, metadata=metadata, format=output)
    written = result.files[0].path.read_bytes()
    assert THUMBNAIL[:60].encode() not in written
    assert written.count(b"\xff\xd8\xff") == (1 if output == "jpeg" else 0)
    if tool := shutil.which("exiftool"):
        asked = [
            tool,
            "-b",
            "-ThumbnailImage",
            "-PreviewImage",
            "-JpgFromRaw",
            "-OtherImage",
            str(result.files[0].path),
        ]
        assert subprocess.run(asked, capture_output=True, check=False).stdout == b""


def test_a_packet_that_cannot_be_parsed_is_kept_unless_it_may_depict_the_old_picture() -> None:
    broken = b'<x:xmpmeta><rdf:Description xmp:Label="blue"></x:xmpmeta>'
    assert xmp.true_of_the_result(broken) == (broken, [])
    assert xmp.true_of_the_result(broken + b"<xmp:Thumbnails>") == (b"", ["XMP"])
    assert xmp.of_the_author(broken) == b""


def test_entities_that_grow_are_not_expanded() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><x>&e8;</x>'.encode()
    assert xmp.true_of_the_result(bomb)[0] == bomb


@pytest.mark.parametrize("content", [b"", b"\x1c", IPTC[:-3], b"\x1c\2\x74\xff\xff" + b"x" * 10, b"junk"])
def test_damaged_iptc_says_what_can_be_read(content: bytes, rendered: Rendered) -> None:
    assert len(iim.of_the_author(content)) <= len(content)
    block = (
        b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)
    )
    data = encoded(photo((40, 30)), "JPEG")
    image, _ = rendered(data[:20] + segment(0xED, block) + data[20:], width=20, metadata="copyright")
    assert image.size == (20, 15)


def test_iptc_that_is_too_long_is_named() -> None:
    assert iim.iptc_segment(bytes(65_504)) is None
