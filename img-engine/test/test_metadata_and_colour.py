"""Metadata and colours: nobody's position gets out, and a colour changes only by its profile."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from img_contract.job.outcome import WarningCode
from img_testing.samples import codes, encoded
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., Any]
OUTPUTS = ("jpeg", "png", "webp", "avif", "tiff", "gif")
INPUTS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF", "GIF")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description exif:GPSLatitude="52,31.2N" creator="somebody"/></x:xmpmeta>'
)
DEGREES = (IFDRational(52), IFDRational(31), IFDRational(1234567, 100000))
TRACES = (b"GPSLatitude", b"somebody", struct.pack("<I", 1234567), struct.pack(">I", 1234567))
"""Bytes that would reveal the position or the person."""


# Metadata


def told_all(kind: str) -> bytes:
    """A picture of 40 × 20 with EXIF (artist, copyright, position), XMP with the position, a comment, IPTC."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Copyright] = "(c) somebody else"
    exif[ExifTags.Base.ImageDescription] = "somebody at home"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = DEGREES
    image = Image.linear_gradient("L").resize((40, 20)).convert("RGB")
    options: dict[str, Any] = {"exif": exif, "xmp": XMP}
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Comment", "somebody was here")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    if kind == "JPEG":
        options["comment"] = b"somebody was here"
    if kind == "TIFF":
        options = {"tiffinfo": TiffImagePlugin.ImageFileDirectory_v2()}
        options["tiffinfo"][700] = XMP
        options["tiffinfo"][33723] = b"somebody"
        options["tiffinfo"].tagtype[33723] = 7
        options["tiffinfo"][ExifTags.Base.Artist] = "somebody"
        options["tiffinfo"][ExifTags.Base.Copyright] = "(c) somebody else"
        options["tiffinfo"][ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: DEGREES}
    if kind == "GIF":
        options = {"comment": b"somebody was here, GPSLatitude"}
    return encoded(image, kind, **options)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", [kind for kind in INPUTS if kind != "GIF"])
def test_of_copyright_only_the_two_names_stay(kind: str, output: str, rendered: Rendered) -> None:
    image, result = rendered(told_all(kind), width=20, format=output, metadata="copyright")
    names = (image.getexif().get(ExifTags.Base.Artist), image.getexif().get(ExifTags.Base.Copyright))
    assert names == ((None, None) if output == "gif" else ("somebody", "(c) somebody else"))
    assert codes(result) == []
    written = result.files[0].path.read_bytes()
    assert b"(c) somebody else" in written, "a GIF has the names in XMP"
    assert not any(trace in written for trace in (TRACES[0], *TRACES[2:], b"at home", b"was here"))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", [kind for kind in INPUTS if kind != "GIF"])
def test_what_is_kept_is_there_in_every_format_that_can_hold_it(kind: str, output: str, rendered: Rendered) -> None:
    image, result = rendered(told_all(kind), width=20, format=output, metadata="keep")
    if output == "gif":
        assert codes(result) == [WarningCode.METADATA_DROPPED]
        return
    assert image.getexif()[ExifTags.Base.Artist] == "somebody"
    found = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude]
    assert [float(part) for part in found] == pytest.approx([float(part) for part in DEGREES])
    assert b"exif:GPSLatitude" in result.files[0].path.read_bytes()
    comment_lost = kind in ("JPEG", "PNG") and output not in ("jpeg", "png")
    iptc_lost = kind == "TIFF" and output in ("webp", "avif")
    assert codes(result) == [WarningCode.METADATA_DROPPED] * (comment_lost or iptc_lost)


@pytest.mark.parametrize("output", ["gif", "png", "webp", "avif"])
@pytest.mark.parametrize("metadata", ["strip", "keep"])
def test_an_animation_is_stripped_or_keeps_the_same(metadata: str, output: str, attempt: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    frames = [Image.new("RGB", (40, 20), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], exif=exif, xmp=XMP)
    result = attempt(data, width=20, format=output, metadata=metadata)
    with Image.open(result.files[0].path) as image:
        kept = metadata == "keep" and output != "gif"
        assert image.getexif().get(ExifTags.Base.Artist) == ("somebody" if kept else None)
    assert (b"exif:GPSLatitude" in result.files[0].path.read_bytes()) is (metadata == "keep")


# Profiles

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    "P3": ((0.515102, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073), 2.2),
    "AdobeRGB": ((0.609741, 0.311111, 0.019470), (0.205276, 0.625671, 0.060867), (0.149185, 0.063217, 0.744568), 2.2),
    "wide": ((0.797668, 0.288040, 0.0), (0.135193, 0.711874, 0.0), (0.031342, 0.000086, 0.825211), 1.8),
}
"""Columns of the matrix to XYZ at D50, and the exponent of the tone curve."""


def profile(space: str) -> bytes:
    """A matrix profile, or one for grey in linear light."""
    grey = space == "grey"
    red, green, blue, gamma = (*PRIMARIES["P3"][:3], 1.0) if grey else PRIMARIES[space]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(name, xyz(values)) for name, values in ((b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue))]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return assembled(b"GRAY" if grey else b"RGB ", b"XYZ ", b"mntr", [(b"kTRC", curve)] if grey else tags)


def assembled(space: bytes, connection: bytes, device: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """An ICC profile of version 2 (ICC.1:2001-04)."""
    name = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = [(b"desc", name), (b"wtpt", xyz(D50)), (b"cprt", b"text" + bytes(4) + b"none\0"), *tags]
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags:
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, device, space, connection)
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + xyz(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def swatches(mode: str) -> Image.Image:
    """125 colours in squares of 8 pixels, from all over the cube."""
    levels = range(0, 256, 51) if mode == "L" else (0, 64, 128, 192, 255)
    if mode == "L":
        small = Image.frombytes("L", (6, 1), bytes(levels))
    else:
        small = Image.frombytes(
            "RGB", (25, 5), bytes(c for r in levels for g in levels for b in levels for c in (r, g, b))
        )
    return small.resize((small.width * 8, small.height * 8), Image.Resampling.NEAREST)


def reference(image: Image.Image, icc: bytes) -> Image.Image:
    """The picture in sRGB, by littlecms."""
    srgb = ImageCms.createProfile("sRGB")
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(
        image, source, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB", flags=flags
    )
    assert converted is not None
    return converted


def largest_delta_e(one: Image.Image, other: Image.Image) -> float:
    """CIE 1976, over the middles of the squares."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    labs = [np.asarray(to_lab.apply(image.convert("RGB")))[4::8, 4::8].astype(float) for image in (one, other)]
    for lab in labs:
        lab[..., 0] *= 100 / 255
        lab[..., 1:] = (lab[..., 1:] + 128) % 256
    return float(np.sqrt(((labs[0] - labs[1]) ** 2).sum(axis=-1)).max())


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 1.5), ("TIFF", 1.5), ("WEBP", 1.5), ("JPEG", 4)])
@pytest.mark.parametrize("space", ["P3", "AdobeRGB", "wide", "grey"])
def test_colours_are_converted_as_littlecms_does(space: str, kind: str, tolerance: float, rendered: Rendered) -> None:
    picture, icc = swatches("L" if space == "grey" else "RGB"), profile(space)
    if kind == "WEBP" and space == "grey":
        picture = swatches("RGB").convert("L").convert("RGB")  # the profile is for grey, the pixels are not
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(picture, kind, icc_profile=icc, **options)
    image, result = rendered(data, width=picture.width, format="png")
    with Image.open(io.BytesIO(data)) as stored:
        source = stored.convert("L" if space == "grey" else "RGB")
    assert largest_delta_e(image, reference(source, icc)) < tolerance
    assert largest_delta_e(source, reference(source, icc)) > 5, "the profile would change nothing"
    assert "icc_profile" not in image.info
    assert codes(result) == []


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_profile_is_kept_with_the_very_colours(output: str, rendered: Rendered) -> None:
    picture, icc = swatches("RGB"), profile("AdobeRGB")
    image, result = rendered(
        encoded(picture, icc_profile=icc),
        width=picture.width,
        format=output,
        profile="keep",
        **({"quality": 100, "subsampling": "4:4:4"} if output in ("jpeg", "avif") else {}),
    )
    if output == "gif":
        assert codes(result) == [WarningCode.PROFILE_DROPPED]
        assert largest_delta_e(image, reference(picture, icc)) < 12
        return
    assert image.info["icc_profile"] == icc
    assert largest_delta_e(image, picture) < (15 if output == "webp" else 4)
    assert codes(result) == []


@pytest.mark.parametrize("what", ["background", "watermark"])
def test_what_is_added_has_its_colour_also_where_a_profile_is_kept(what: str, rendered: Rendered) -> None:
    icc, red = profile("AdobeRGB"), Image.new("RGB", (80, 80), (200, 40, 40))
    data = encoded(Image.new("RGB", (80, 80), "white"), icc_profile=icc)
    more: dict[str, Any] = {"height": 160, "fit": "contain", "background": "#c82828"}
    if what == "watermark":
        more = {"watermark": encoded(red), "watermark_scale": 1}
    image, _ = rendered(data, width=80, profile="keep", **more)
    seen = reference(image.convert("RGB"), icc) if "icc_profile" in image.info else image
    assert largest_delta_e(seen.convert("RGB").crop((0, 0, 8, 8)), red.crop((0, 0, 8, 8))) < 3


@pytest.mark.parametrize(
    ("mode", "output", "more"),
    [("L", "webp", {}), ("L", "png", {"height": 100, "fit": "contain"}), ("RGB", "png", {"grayscale": True})],
)
def test_where_a_profile_does_not_fit_the_result_it_is_named(
    mode: str, output: str, more: dict[str, Any], rendered: Rendered
) -> None:
    data = encoded(swatches(mode), icc_profile=profile("grey" if mode == "L" else "P3"))
    image, result = rendered(data, width=48, format=output, profile="keep", **more)
    assert "icc_profile" not in image.info
    assert codes(result) == [WarningCode.PROFILE_DROPPED]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_goes_through_a_conversion_untouched(mode: str, rendered: Rendered) -> None:
    colours = swatches("L" if mode == "LA" else "RGB")
    picture, icc = colours.copy(), profile("grey" if mode == "LA" else "P3")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda alpha: max(alpha, 200)))
    image, _ = rendered(encoded(picture, icc_profile=icc), width=picture.width)
    assert image.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert largest_delta_e(image.convert("RGB"), reference(colours, icc)) < 1.5


# Modes


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("trim", [None, 0])
def test_sixteen_bits_of_grey_are_scaled_exactly(kind: str, trim: int | None, rendered: Rendered) -> None:
    values = [*range(0, 65_536, 31), 65_535, 127, 128, 129, 385, 386]
    picture = Image.frombytes("I;16", (len(values), 1), struct.pack(f"<{len(values)}H", *values))
    image, _ = rendered(encoded(picture, kind), width=len(values), format="png", trim=trim)
    expected = bytes((value * 255 + 32_767) // 65_535 for value in values)
    assert image.tobytes() == (expected if trim is None else expected.strip(b"\0"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_sixteen_bits_of_colour_are_scaled_exactly(mode: str, rendered: Rendered) -> None:
    channels, kind = len(mode), {"RGB": 2, "RGBA": 6, "LA": 4}[mode]
    values = [value | 1 for value in range(200, 60_000, 61)][: 240 * channels]
    rows = b"\0" + struct.pack(f">{len(values)}H", *values)
    width = len(values) // channels
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    image, _ = rendered(b"\x89PNG\r\n\x1a\n" + data, width=width)
    found = image.tobytes() if mode != "LA" else image.convert("LA").tobytes()
    assert list(found) == [(value * 255 + 32_767) // 65_535 for value in values]


@pytest.mark.parametrize("mode", ["LA", "PA", "P"])
def test_what_is_invisible_bleeds_into_nothing_in_any_mode(mode: str, rendered: Rendered) -> None:
    picture = Image.new("RGBA", (40, 40), (250, 250, 250, 0))
    picture.paste((60, 60, 60, 255), (0, 0, 21, 40))
    options: dict[str, Any] = {}
    if mode == "P":
        stored, options = Image.new("P", (40, 40), 1), {"transparency": b"\xff\0"}
        stored.putpalette([60, 60, 60, 250, 250, 250])
        stored.paste(0, (0, 0, 21, 40))
    else:
        stored = picture.convert(mode)
    image, _ = rendered(encoded(stored, "PNG" if mode != "PA" else "TIFF", **options), width=10, format="png")
    found = [image.convert("RGBA").getpixel((x, 5)) for x in range(10)]
    assert all(alpha < 8 or abs(grey - 60) < 12 for grey, _, _, alpha in found), found
    assert 20 < found[5][3] < 235


def jpeg_of_four(ycck: bool) -> bytes:
    """Pure red, as Adobe writes CMYK: inverted, and turned into YCCK or not."""
    # Magenta and yellow in full: inverted 255, 0, 0. YCCK holds their complements, those of cyan light, as YCbCr.
    planes = (179, 171, 1, 255) if ycck else (255, 0, 0, 255)
    data = encoded(Image.new("CMYK", (32, 32), tuple(255 - plane for plane in planes)), "JPEG", quality=95)
    adobe = data.index(b"Adobe\0") + 11
    return data[:adobe] + bytes([2 if ycck else 0]) + data[adobe + 1 :]


@pytest.mark.parametrize("ycck", [True, False])
def test_cmyk_as_adobe_writes_it_has_its_colours(ycck: bool, rendered: Rendered) -> None:
    image, result = rendered(jpeg_of_four(ycck), width=16)
    red, green, blue = image.getpixel((8, 8))
    assert red > 230
    assert max(green, blue) < 30
    assert codes(result) == []


def cmyk_profile() -> bytes:
    """To Lab by a table of the sixteen corners: all as bright as they are, tinted as CMYK is."""
    corners = b""
    for number in range(16):
        cyan, magenta, yellow, black = (number >> 3 & 1, number >> 2 & 1, number >> 1 & 1, number & 1)
        lightness = max(0, 95 - 30 * cyan - 40 * magenta - 8 * yellow) * (1 - 0.8 * black)
        tints = (60 * magenta - 35 * cyan, 80 * yellow - 45 * cyan)
        corners += bytes([round(lightness * 2.55), *(round(128 + tint * (1 - black)) for tint in tints)])
    identity = b"".join(struct.pack(">i", 65536 * (at % 4 == 0)) for at in range(9))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4 + corners + bytes(range(256)) * 3
    )
    return assembled(b"CMYK", b"Lab ", b"prtr", [(b"A2B0", table)])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str, rendered: Rendered) -> None:
    picture = swatches("RGB").convert("CMYK")
    data = encoded(picture, kind, icc_profile=cmyk_profile(), **({"quality": 100} if kind == "JPEG" else {}))
    with Image.open(io.BytesIO(data)) as stored:
        expected = reference(stored.copy(), cmyk_profile())
    image, result = rendered(data, width=picture.width, format="png")
    assert largest_delta_e(image, expected) < 1.5
    assert largest_delta_e(picture.convert("RGB"), expected) > 20, "the profile would change nothing"
    _, kept = rendered(data, width=picture.width, format="png", profile="keep")
    assert (codes(result), codes(kept)) == ([], [WarningCode.PROFILE_DROPPED])
