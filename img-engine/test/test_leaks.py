"""Nothing that a picture tells gets out unasked, and nothing is lost in silence: every place of every format.

Each place has a marker of its own. exiftool is the witness beside the bytes themselves, where it is installed.
"""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_engine.render.reading.png_chunks import chunks
from img_engine.render.task import Refusal, RenderOutcome
from img_engine.render.writing.gif_xmp import with_xmp
from img_engine.render.writing.iptc import iptc_segment
from img_testing.bombs import chunk, segment
from img_testing.samples import encoded, photo
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

pytestmark = pytest.mark.python_independent

Attempt = Callable[..., RenderOutcome | Refusal]
OUTPUTS = ("jpeg", "png", "webp", "avif", "tiff", "gif")
MARKER = re.compile(rb"LEAK[a-z]+")
GPS = (52.0, 31.0, 12.34567)

NAMES = {"artist", "copyright", "creator", "rights", "credit", "byline", "iptccredit", "notice"}
"""Markers that are the author's names."""

NAMED: dict[str, str] = {
    "makernote": "maker note",
    "resource": "Photoshop's resources",
    "layers": "Photoshop's layers",
    "appsegment": "segment APP12",
    "hidden": "motion photo",
    "extended": "XMP",
    "label": "XMP",
    **dict.fromkeys(("caption", "byline", "iptccredit", "notice"), "IPTC"),
    "description": "EXIF",
    "xptitle": "EXIF",
    "privatetag": "EXIF",
    "comment": "comment",
    "text": "comment",
    "ztext": "comment",
    "itext": "comment",
}
"""What the warning calls the place of a marker, where the result has it not."""

SILENT = {"thumbnail", "trailer", "profile", "time", "chunk", "riff", "application", "page"}
"""What goes without a word, see docs/formats.md: it is no metadata, or belongs to the old pixels."""


def marker(name: str) -> bytes:
    return b"LEAK" + name.encode()


def exif(*, note: bool = True) -> Image.Exif:
    found = Image.Exif()
    found[ExifTags.Base.Artist] = "LEAKartist"
    found[ExifTags.Base.Copyright] = "LEAKcopyright"
    found[ExifTags.Base.ImageDescription] = "LEAKdescription"
    found[ExifTags.Base.XPTitle] = "LEAKxptitle".encode("utf-16-le")
    found.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = GPS
    if note:
        preview = encoded(photo((16, 16)), "JPEG", comment=marker("makernote"))
        found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"Maker\0" + preview
    return found


def packet(name: str = "label", more: str = "") -> bytes:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    spaces = {
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "dc": "http://purl.org/dc/elements/1.1/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "GCamera": "http://ns.google.com/photos/1.0/camera/",
        "xmpNote": "http://ns.adobe.com/xmp/note/",
    }
    declared = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about="" {declared} '
        f'xmp:{"Label" if name == "label" else "Nickname"}="LEAK{name}" {more}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def standard(more: str = "") -> bytes:
    return packet(
        more=f'{more} GCamera:MicroVideoOffset="LEAKhidden" photoshop:Credit="LEAKcredit">'
        "<dc:creator><rdf:Seq><rdf:li>LEAKcreator</rdf:li></rdf:Seq></dc:creator>"
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">LEAKrights</rdf:li></rdf:Alt></dc:rights>'
    )


IPTC = b"".join(
    struct.pack(">BBBH", 0x1C, 2, number, 4 + len(name)) + marker(name)
    for number, name in ((80, "byline"), (110, "iptccredit"), (116, "notice"), (120, "caption"))
)
RESOURCES = (iptc_segment(IPTC) or b"")[18:] + b"8BIM" + struct.pack(">HHI", 0x03E8, 0, 12) + marker("resource")


def profile() -> bytes:
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made.replace("sRGB built-in".encode("utf-16-be"), "LEAKprofile xx".encode("utf-16-be")[:26])


def jpeg() -> bytes:
    guid = "0123456789ABCDEF" * 2
    extended = packet("extended", ">")
    thumbnail = encoded(photo((8, 8)), "JPEG", comment=marker("thumbnail"))
    block = exif().tobytes()
    further = b"http://ns.adobe.com/xmp/extension/\0" + struct.pack(">32sII", guid.encode(), len(extended), 0)
    data = encoded(photo((16, 16)), "JPEG", exif=block, comment=marker("comment"), icc_profile=profile())
    more = (
        segment(0xE0, b"JFXX\0\x10" + thumbnail),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + standard(f'xmpNote:HasExtendedXMP="{guid}"')),
        segment(0xE1, further + extended),
        segment(0xED, b"Photoshop 3.0\0" + RESOURCES),
        segment(0xEC, b"Program\0" + marker("appsegment")),
    )
    return data[:20] + b"".join(more) + data[20:] + marker("trailer")


def png() -> bytes:
    texts = PngInfo()
    texts.add_text("Title", "LEAKtext")
    texts.add_text("Author", "LEAKztext", zip=True)
    texts.add_itxt("Comment", "LEAKitext", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", standard().decode())
    digits = RESOURCES.hex()
    texts.add_text("Raw profile type iptc", f"\niptc\n{len(RESOURCES)}\n{digits}\n", zip=True)
    data = encoded(photo((16, 16)), "PNG", pnginfo=texts, exif=exif(), icc_profile=profile())
    return data[:33] + chunk(b"prIv", marker("chunk")) + data[33:] + marker("trailer")


def webp() -> bytes:
    data = encoded(photo((16, 16)), "WEBP", exif=exif(), xmp=standard(), icc_profile=profile())
    data += b"PRIV" + struct.pack("<I", 8) + marker("riff")
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def heif(kind: str) -> bytes:
    return encoded(photo((16, 16)), kind, exif=exif(), xmp=standard())


def tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, content in ((700, standard()), (33_723, IPTC), (34_377, RESOURCES), (0x935C, marker("layers"))):
        tags[tag] = content
        tags.tagtype[tag] = 7
    for tag, text in ((0x010E, "description"), (0x013B, "artist"), (0x8298, "copyright"), (65_000, "privatetag")):
        tags[tag] = f"LEAK{text}"
        tags.tagtype[tag] = 2
    tags[0x9C9B] = "LEAKxptitle".encode("utf-16-le")
    tags.tagtype[0x9C9B] = 1
    page = photo((16, 16))
    page.encoderinfo = {"description": "LEAKpage"}
    return encoded(photo((16, 16)), "TIFF", tiffinfo=tags, save_all=True, append_images=[page])


def gif() -> bytes:
    data = encoded(photo((16, 16)), "GIF", comment=marker("comment"))
    application = b"!\xff\x0bPROGRAM 1.0" + bytes((15,)) + marker("application") + b"\0"
    return with_xmp(data[:-1] + application + b";", standard()) + marker("trailer")


INPUTS: dict[str, Callable[[], bytes]] = {
    "JPEG": jpeg,
    "PNG": png,
    "WEBP": webp,
    "AVIF": lambda: heif("AVIF"),
    "HEIC": lambda: heif("HEIF"),
    "TIFF": tiff,
    "GIF": gif,
}


def markers(data: bytes) -> set[str]:
    """The markers in a file: as they are, in UTF-16, in hexadecimal digits, and in compressed texts."""
    seen = [data, data.replace(b"\0", b"")]
    if data.startswith(b"\x89PNG"):
        for kind, content in chunks(data):
            if kind in (b"zTXt", b"iTXt", b"iCCP"):
                seen += [inflated(bytes(content[at:])) for at in range(len(content)) if content[at] == 0x78]
    seen += [bytes.fromhex(run.decode()) for text in seen for run in re.findall(rb"(?:[0-9a-f]{2}){20,}", joined(text))]
    return {found[4:].decode() for text in seen for found in MARKER.findall(text)}


def joined(text: bytes) -> bytes:
    return text.replace(b"\n", b"") if b"iptc\n" in text else text


def inflated(content: bytes) -> bytes:
    try:
        return zlib.decompress(content)
    except zlib.error:
        return b""


def told_by_exiftool(paths: list[Path]) -> list[set[str]]:
    """What exiftool finds in each file."""
    tool = shutil.which("exiftool")
    if tool is None:
        return [set() for _ in paths]
    found = []
    asked = [tool, "-a", "-U", "-ee", "-b", "-G1", "-X", *map(str, paths)]
    said = subprocess.run(asked, capture_output=True, check=False, timeout=60).stdout
    for part in said.split(b"<rdf:Description rdf:about=")[1:]:
        assert b"ExifTool:Error" not in part, part[:2000]
        found.append({one[4:].decode() for one in MARKER.findall(part)})
    assert len(found) == len(paths)
    return found


@pytest.mark.parametrize("kind", INPUTS)
def test_what_a_picture_tells_is_stripped_kept_or_named(kind: str, attempt: Attempt, tmp_path: Path) -> None:
    data = INPUTS[kind]()
    there = markers(data)
    assert there >= {"label", "creator"}
    cases: list[tuple[str, str, Any]] = []
    paths = []
    for output in OUTPUTS:
        for metadata in ("strip", "copyright", "keep"):
            result = attempt(data, width="100%", format=output, metadata=metadata)
            assert isinstance(result, RenderOutcome), result
            path = tmp_path / f"{output}-{metadata}"
            path.write_bytes(result.files[0].path.read_bytes())
            paths.append(path)
            cases.append((output, metadata, result))
    for (output, metadata, result), path, seen in zip(cases, paths, told_by_exiftool(paths), strict=True):
        found = markers(path.read_bytes()) | seen
        what = (kind, output, metadata, result.warnings)
        if metadata == "strip":
            assert found == set(), what
        elif metadata == "copyright":
            assert found <= NAMES, what
            assert found & {"creator", "byline", "artist"}, what
            assert found & {"rights", "notice", "copyright"}, what
        else:
            said = " ".join(warning.detail for warning in result.warnings)
            for lost in there - found - SILENT:
                assert NAMED.get(lost, "EXIF") in said, (lost, *what)
            assert not found & {"makernote", "thumbnail", "trailer", "hidden", "resource", "layers"}, what


def test_the_samples_are_what_they_should_be() -> None:
    """A marker that is not found in the upload could not be found in a result."""
    everywhere = set().union(*(markers(make()) for make in INPUTS.values()))
    assert everywhere >= NAMES | set(NAMED) | SILENT - {"time"}
    with Image.open(io.BytesIO(jpeg())) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
