"""Metadata that is kept is true of the result, and what is lost is named."""

from __future__ import annotations

import base64
import json
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
from img_engine.render.writing.gif_xmp import with_xmp
from img_testing.bombs import segment
from img_testing.samples import codes, encoded, photo
from PIL import ExifTags, Image, TiffImagePlugin
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
    assert ("IPTC" in lost) is (output not in ("png", "tiff"))
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


def in_segments(whole: bytes, extension: bytes, guid: str = "0123456789ABCDEF" * 2, size: int = 300) -> bytes:
    """A JPEG of 80 × 60 with extended XMP, in parts of so many bytes, the last one first."""
    head = b"http://ns.adobe.com/xmp/extension/\0"
    parts = [
        segment(0xE1, head + struct.pack(">32sII", guid.encode(), len(extension), at) + extension[at : at + size])
        for at in range(0, len(extension), size)
    ]
    data = encoded(photo((80, 60)), "JPEG", xmp=whole)
    return data[:20] + b"".join(parts[::-1]) + data[20:]


GUID = 'xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"'


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif", "tiff", "gif"])
def test_extended_xmp_is_kept_in_one_packet_where_that_is_possible(output: str, rendered: Rendered) -> None:
    data = in_segments(packet(f'xmp:Label="blue" {GUID}'), packet('photoshop:Credit="us"', RIGHTS))
    image, result = rendered(data, width=40, metadata="keep", format=output)
    kept = result.files[0].path.read_bytes() if output == "gif" else image.info["xmp"]
    assert all(name in kept for name in (b'xmp:Label="blue"', b'photoshop:Credit="us"', b"(c) somebody"))
    assert b"HasExtended" not in kept
    assert codes(result) == []
    _, result = rendered(data, width=40, metadata="copyright", format=output)
    assert b"(c) somebody" in result.files[0].path.read_bytes()


def test_extended_xmp_that_is_not_whole_is_named(rendered: Rendered) -> None:
    data = in_segments(packet(f'xmp:Label="blue" {GUID}'), packet('photoshop:Credit="us"', RIGHTS))
    other = data.replace(b"extension/\x000123", b"extension/\x00FFFF", 1)
    damaged = data.replace(b"</rdf:Alt>", b"</rdf:Bag>", 1)
    for broken in (other, damaged):
        assert broken != data
        image, result = rendered(broken, width=40, metadata="keep")
        assert b'xmp:Label="blue"' in image.info["xmp"]
        assert "extended XMP" in result.warnings[0].detail


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_a_long_packet_is_written_to_a_jpeg_in_parts_that_exiftool_reads(rendered: Rendered) -> None:
    long = "".join(f"<dc:p{n}><rdf:Bag><rdf:li>{'word ' * 900}</rdf:li></rdf:Bag></dc:p{n}>" for n in range(40))
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet(f'xmp:Label="blue" xmp:Nickname="{"x" * 70_000}"', long).decode())
    data = encoded(photo((80, 60)), "PNG", pnginfo=texts)
    image, result = rendered(data, width=40, metadata="keep", format="jpeg")
    assert codes(result) == []
    assert b"HasExtendedXMP" in image.info["xmp"]
    asked = ["exiftool", "-j", "-XMP:all", "-Warning", str(result.files[0].path)]
    told = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)[0]
    assert told["Label"] == "blue"
    assert len(told["Nickname"]) == 70_000
    assert told["P0"] == told["P39"] == "word " * 900
    assert "Warning" not in told
    _, again = rendered(result.files[0].path.read_bytes(), width=20, metadata="keep", format="webp")
    assert codes(again) == []
    assert again.files[0].path.read_bytes().count(b"word ") == 40 * 900


PANORAMA = (
    'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="100" GPano:FullPanoHeightPixels="50" '
    'GPano:CroppedAreaLeftPixels="11" GPano:CroppedAreaImageWidthPixels="80"'
)
HEIGHT = "<GPano:CroppedAreaImageHeightPixels>60</GPano:CroppedAreaImageHeightPixels>"


def test_the_sizes_of_a_panorama_are_scaled_with_it(rendered: Rendered) -> None:
    data = encoded(photo((80, 60)), "JPEG", xmp=packet(PANORAMA, HEIGHT))
    image, result = rendered(data, width=40, variants="20w", metadata="keep")
    kept = image.info["xmp"]
    assert b'ProjectionType="equirectangular"' in kept
    assert b'FullPanoWidthPixels="50"' in kept
    assert b'FullPanoHeightPixels="25"' in kept
    assert b'CroppedAreaLeftPixels="6"' in kept
    assert b'CroppedAreaImageWidthPixels="40"' in kept
    assert b"HeightPixels>30<" in kept
    assert b'CroppedAreaImageWidthPixels="20"' in result.files[1].path.read_bytes()
    assert codes(result) == []


@pytest.mark.parametrize(
    "more",
    [
        {"crop": "0,0,40,40"},
        {"rotate": 90},
        {"flop": True},
        {"height": 40, "fit": "cover"},
        {"height": 90, "fit": "contain"},
    ],
)
def test_a_panorama_that_is_cut_or_turned_is_none(more: dict[str, Any], rendered: Rendered) -> None:
    data = encoded(photo((80, 60)), "JPEG", xmp=packet(PANORAMA + ' xmp:Label="blue"', HEIGHT))
    image, result = rendered(data, width=40, metadata="keep", **more)
    assert b"GPano:" not in image.info["xmp"].replace(b"xmlns:GPano", b"")
    assert b'xmp:Label="blue"' in image.info["xmp"]
    assert "panorama" in result.warnings[-1].detail


def tiff_with_iptc(tag: int, content: bytes, kind: int) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = content
    tags.tagtype[tag] = 7
    data = encoded(photo((80, 60)), "TIFF", tiffinfo=tags)
    as_bytes, as_said = struct.pack("<HHI", tag, 7, len(content)), struct.pack("<HHI", tag, kind, len(content) // 4)
    return data.replace(as_bytes, as_said) if kind == 4 else data


def png_with_raw(content: bytes) -> bytes:
    texts = PngInfo()
    texts.add_text("Raw profile type iptc", f"\niptc\n  {len(content)}\n{content.hex()}\n", zip=True)
    return encoded(photo((80, 60)), "PNG", pnginfo=texts)


RESOURCE = (iim.iptc_segment(IPTC) or b"")[18:]
PLACES: dict[str, Callable[[], bytes]] = {
    "TIFF's tag": lambda: tiff_with_iptc(33723, IPTC, 7),
    "TIFF's tag, as numbers": lambda: tiff_with_iptc(33723, IPTC + bytes(-len(IPTC) % 4), 4),
    "resources in a TIFF": lambda: tiff_with_iptc(34377, b"8BIM\3\xed\0\0\0\0\0\0" + RESOURCE, 7),
    "text of a PNG": lambda: png_with_raw(RESOURCE),
    "text of a PNG, bare": lambda: png_with_raw(IPTC),
}


@pytest.mark.parametrize("place", PLACES)
def test_iptc_is_found_wherever_it_is(place: str, rendered: Rendered) -> None:
    data = PLACES[place]()
    for output in ("jpeg", "tiff", "png"):
        image, result = rendered(data, width=40, metadata="keep", format=output)
        raw = "".join(str(image.info.get("Raw profile type iptc", "")).split()[2:])
        tag = getattr(image, "tag_v2", {}).get(33723)
        assert IPTC in (tag, resources(image), iim.from_resources(bytes.fromhex(raw)))
        assert codes(result) == []
    image, result = rendered(data, width=40, metadata="copyright", format="webp")
    assert codes(result) == []
    assert all(name in image.info["xmp"] for name in (b"<rdf:li>somebody<", b"(c) IPTC"))


def test_names_of_iptc_are_added_to_xmp_only_where_it_has_none(rendered: Rendered) -> None:
    image, result = rendered(told(), width=40, metadata="copyright", format="webp")
    assert image.info["xmp"].count(b"somebody") == 2  # as creator, and as holder of the rights
    assert b"(c) IPTC" not in image.info["xmp"]
    assert codes(result) == [WarningCode.GAIN_MAP_DROPPED]


def test_what_else_photoshop_and_others_wrote_is_named(rendered: Rendered) -> None:
    data = encoded(photo((80, 60)), "JPEG")
    more = segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xe8\0\0\0\0\0\2xx") + segment(0xEB, b"JP\0\1")
    _, result = rendered(data[:20] + more + data[20:], width=40, metadata="keep")
    assert "Photoshop's resources, segment APP11" in result.warnings[0].detail


def test_a_cleared_animation_keeps_comment_and_xmp(rendered: Rendered) -> None:
    frames = [Image.new("P", (20, 20), colour) for colour in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0])
        frame.paste(0, (0, 0, 10, 10))
    said: dict[str, Any] = {"transparency": 0, "disposal": 2, "comment": "é" * 200}
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], **said)
    image, result = rendered(with_xmp(data, packet('xmp:Label="blue"')), width="100%", metadata="keep")
    assert (result.files[0].frames, image.info["comment"]) == (2, ("é" * 200).encode())
    assert b'xmp:Label="blue"' in result.files[0].path.read_bytes()
    assert codes(result) == []


def many(children: str, descriptions: int = 1, spaces: int = 0) -> bytes:
    declared = "".join(f' xmlns:n{number}="u{number}"' for number in range(spaces))
    about = f'<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/">{children}</rdf:Description>'
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"{declared}><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"{about * descriptions}</rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    "bomb",
    [
        many("<GPano:x/>" * 90_000),
        many("<GPano:FullPanoWidthPixels>1</GPano:FullPanoWidthPixels>" * 15_000),
        many('<GPano:x q="1"/>' * 60_000),
        many("<GPano:x/>" * 1000, descriptions=50, spaces=8000),
    ],
)
def test_xmp_of_very_many_parts_is_named_and_not_parsed(bomb: bytes, rendered: Rendered) -> None:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", bomb.decode())
    for metadata in ("keep", "copyright"):
        image, result = rendered(encoded(photo((8, 8)), pnginfo=texts), width=4, format="jpeg", metadata=metadata)
        assert "xmp" not in image.info
        assert "XMP" in result.warnings[0].detail


def test_digits_of_a_raw_profile_may_have_other_bytes_behind_them(rendered: Rendered) -> None:
    """As libavif's avifenc leaves them."""
    texts = PngInfo()
    texts.add_text("Raw profile type iptc", f"\nIPTC\n0000{len(RESOURCE)}\n{RESOURCE.hex()}\n\x1d\x91", zip=True)
    image, _ = rendered(encoded(photo((80, 60)), "PNG", pnginfo=texts), width=40, metadata="keep", format="jpeg")
    assert resources(image) == IPTC


def test_exif_that_cannot_be_written_again_is_named(rendered: Rendered) -> None:
    """The resolution is told in letters."""
    block = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\1\1\x1a\0\2\0\0\0\4abc\0\0\0\0\0"
    image, result = rendered(encoded(photo((80, 60)), "JPEG", exif=block), width=40, metadata="keep")
    assert ("exif" in image.info) is False
    assert "EXIF, which is damaged" in result.warnings[0].detail
