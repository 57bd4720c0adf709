"""Results: orientation, colour, transparency, metadata, limits and warnings."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import Failure, FailureCode, WarningCode
from img_engine.render.task import Refusal
from img_testing.samples import STORED, codes, encoded, near
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

Rendered = Callable[..., Any]


def gradient(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Red grows to the right, green downwards; blue is constant, alpha (if any) grows to the right."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", (across, down, Image.new("L", size, 64)))
    if mode == "RGBA":
        image.putalpha(across)
    return image


# Orientation

CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def four_corners() -> Image.Image:
    """Upright: red, green above; blue, white below. 64 × 32."""
    image = Image.new("RGB", (64, 32))
    for place, name in zip(((0, 0), (32, 0), (0, 16), (32, 16)), CORNERS, strict=True):
        image.paste(CORNERS[name], (*place, place[0] + 32, place[1] + 16))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_comes_out_upright(kind: str, orientation: int, rendered: Rendered) -> None:
    turn = STORED[orientation]
    stored = four_corners() if turn is None else four_corners().transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image, result = rendered(encoded(stored, kind, exif=exif), width=32, format="png")
    assert image.size == (32, 16)
    assert (result.facts.width, result.facts.height) == (64, 32)
    found = [image.convert("RGB").getpixel(place) for place in ((4, 3), (27, 3), (4, 12), (27, 12))]
    assert all(near(pixel, corner, 40) for pixel, corner in zip(found, CORNERS.values(), strict=True)), found
    assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_an_orientation_in_xmp_alone_turns_nothing(rendered: Rendered) -> None:
    """As in other programs: only EXIF turns a picture."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    image, result = rendered(encoded(four_corners(), "JPEG", xmp=xmp), width=32, format="png")
    assert (image.size, result.facts.orientation) == ((32, 16), 1)


def test_gravity_is_meant_upright_too(rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = four_corners().transpose(Image.Transpose.ROTATE_90)
    image, _ = rendered(encoded(stored, "PNG", exif=exif), width=8, height=8, fit="cover", gravity="southeast")
    assert near(image.convert("RGB").getpixel((6, 6)), CORNERS["white"])


# Framing


@pytest.mark.parametrize(
    ("gravity", "corner"),
    [("northwest", "red"), ("northeast", "green"), ("southwest", "blue"), ("southeast", "white")],
)
def test_cover_keeps_the_part_that_gravity_names(gravity: str, corner: str, rendered: Rendered) -> None:
    image, _ = rendered(encoded(four_corners(), "PNG"), width=16, height=16, fit="cover", gravity=gravity)
    assert image.size == (16, 16)
    x = 1 if "west" in gravity else 14
    y = 1 if "north" in gravity else 14
    assert near(image.convert("RGB").getpixel((x, y)), CORNERS[corner])


def test_contain_fills_the_rest_with_the_background(rendered: Rendered) -> None:
    image, _ = rendered(encoded(four_corners(), "PNG"), width=32, height=32, fit="contain", background="f80")
    assert image.size == (32, 32)
    assert near(image.convert("RGB").getpixel((16, 2)), (255, 136, 0))
    assert near(image.convert("RGB").getpixel((2, 10)), CORNERS["red"])


def test_contain_without_a_background_is_transparent_where_that_can_be_held_else_white(rendered: Rendered) -> None:
    data = encoded(four_corners(), "PNG")
    transparent, _ = rendered(data, width=32, height=32, fit="contain")
    assert transparent.getpixel((16, 2))[3] == 0
    white, result = rendered(data, width=32, height=32, fit="contain", format="jpeg")
    assert near(white.getpixel((16, 2)), (255, 255, 255))
    assert codes(result) == []


def test_fill_stretches(rendered: Rendered) -> None:
    image, _ = rendered(encoded(four_corners(), "PNG"), width=10, height=30, fit="fill")
    assert image.size == (10, 30)


def test_a_small_picture_keeps_its_size_and_says_so(rendered: Rendered) -> None:
    image, result = rendered(encoded(four_corners(), "PNG"), width=640)
    assert image.size == (64, 32)
    assert codes(result) == [WarningCode.NOT_ENLARGED]
    image, result = rendered(encoded(four_corners(), "PNG"), width=640, enlarge=True)
    assert image.size == (640, 320)
    assert codes(result) == []


# Colour and modes


def test_an_embedded_profile_is_converted_to_srgb(rendered: Rendered) -> None:
    """A profile whose red and blue are exchanged makes a red picture blue."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    data = encoded(Image.new("RGB", (20, 20), (220, 30, 30)), "PNG", icc_profile=swapped)
    image, result = rendered(data, width=10)
    red, _, blue = image.convert("RGB").getpixel((5, 5))
    assert blue > red + 100
    assert "icc_profile" not in image.info
    assert codes(result) == []


def test_a_profile_that_cannot_be_used_is_named(rendered: Rendered) -> None:
    image, result = rendered(encoded(Image.new("RGB", (20, 20), "red"), "JPEG", icc_profile=b"no profile"), width=10)
    assert near(image.getpixel((5, 5)), (254, 0, 0))
    assert codes(result) == [WarningCode.PROFILE_UNUSABLE]


def test_cmyk_becomes_rgb(rendered: Rendered) -> None:
    image, _ = rendered(encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"), width=10)
    assert image.mode == "RGB"
    red, green, blue = image.getpixel((5, 5))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_mode_of_a_png_survives(mode: str, rendered: Rendered) -> None:
    if mode == "I;16":
        image = Image.new("I;16", (40, 20), 0x8080)
    elif mode == "LA":
        image = Image.new("LA", (40, 20), (128, 128))
    else:
        image = Image.new("RGBA", (40, 20), (128, 128, 128, 255)).convert(mode)
    result, _ = rendered(encoded(image, "PNG"), width=10)
    grey = result.convert("RGBA").getpixel((5, 2))
    assert mode == "1" or near(grey[:3], (128, 128, 128), 3), grey
    assert mode != "LA" or near(grey[3:], (128,), 3)


def test_sixteen_bits_are_scaled_not_cut(rendered: Rendered) -> None:
    image, _ = rendered(encoded(Image.new("I;16", (20, 20), 65535), "PNG"), width=10)
    assert image.getpixel((5, 5)) == 255


def test_transparent_pixels_do_not_bleed_into_their_neighbours(rendered: Rendered) -> None:
    """Premultiplied: the invisible green must not tint the red that is beside it."""
    image = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 21, 40))
    result, _ = rendered(encoded(image, "PNG"), width=10)
    for x in range(10):
        red, green, _, alpha = result.getpixel((x, 5))
        assert alpha < 8 or (red > 240 and green < 15), (x, red, green, alpha)


def test_transparency_stays_where_the_format_can_hold_it(rendered: Rendered) -> None:
    for output in ("png", "webp", "avif"):
        image, result = rendered(encoded(gradient((40, 20), "RGBA"), "PNG"), width=20, format=output)
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema()[0] < 20
        assert codes(result) == []


def test_transparency_is_put_on_white_with_a_warning_where_it_cannot_be_held(rendered: Rendered) -> None:
    data = encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG")
    image, result = rendered(data, width=10, format="jpeg")
    assert near(image.getpixel((5, 5)), (255, 255, 255))
    assert codes(result) == [WarningCode.ALPHA_FLATTENED]
    image, result = rendered(data, width=10, format="jpeg", background="blue")
    assert near(image.getpixel((5, 5)), (0, 0, 255))
    assert codes(result) == []


def test_a_transparent_gif_stays_transparent(rendered: Rendered) -> None:
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (20, 0, 40, 40))
    image, _ = rendered(encoded(picture, "PNG"), width=20, format="gif")
    left, right = (image.convert("RGBA").getpixel((x, 10)) for x in (2, 17))
    assert left[3] == 0
    assert right == (255, 0, 0, 255)


# Metadata


def with_metadata(kind: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (IFDRational(52), IFDRational(31), IFDRational(12))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">somebody was here</x:xmpmeta>'
    image = gradient((40, 20))
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Comment", "somebody was here")
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return encoded(image, kind, exif=exif, pnginfo=info)
    if kind == "JPEG":
        return encoded(image, kind, exif=exif, xmp=xmp, comment=b"somebody was here")
    return encoded(image, kind, exif=exif, xmp=xmp)


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif", "gif"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_is_stripped_position_and_all(
    kind: str, output: str, rendered: Rendered, attempt: Callable[..., Any]
) -> None:
    data = with_metadata(kind)
    assert b"somebody" in data
    result = attempt(data, width=20, format=output)
    written = result.files[0].path.read_bytes()
    assert b"somebody" not in written
    image, _ = rendered(data, width=20, format=output)
    assert not image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert "xmp" not in image.info
    assert "comment" not in image.info or image.format == "GIF"


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif"])
def test_metadata_is_kept_on_request_but_not_the_orientation(output: str, rendered: Rendered) -> None:
    image, result = rendered(with_metadata("JPEG"), width=20, format=output, metadata="keep")
    exif = image.getexif()
    assert exif[ExifTags.Base.Artist] == "somebody"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (52.0, 31.0, 12.0)
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert b"somebody was here" in result.files[0].path.read_bytes()
    comment_lost = output in ("webp", "avif")
    assert codes(result) == [WarningCode.METADATA_DROPPED] * comment_lost


def test_metadata_that_a_format_cannot_hold_is_named(rendered: Rendered) -> None:
    _, result = rendered(with_metadata("JPEG"), width=20, format="gif", metadata="keep")
    assert WarningCode.METADATA_DROPPED in codes(result)


# Encoding


@pytest.mark.parametrize("output", ["jpeg", "webp", "avif"])
def test_quality_decides_the_size(output: str, rendered: Rendered) -> None:
    noise = encoded(Image.effect_noise((120, 90), 80).convert("RGB"), "PNG")
    sizes = [rendered(noise, width=100, format=output, quality=q)[1].files[0].bytes for q in (10, 50, 95)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_quality_without_effect_is_named(rendered: Rendered) -> None:
    _, result = rendered(encoded(gradient((40, 20)), "PNG"), width=20, quality=50)
    assert codes(result) == [WarningCode.PARAMETER_UNUSED]


# Refusals


def test_a_shape_whose_scaling_would_not_fit_is_refused_before_it_is_scaled(attempt: Callable[..., Any]) -> None:
    """From very wide to very high: the picture between the two passes of scaling is both."""
    wide = encoded(Image.new("RGB", (30_000, 1)), "PNG")
    failure = refused(attempt(wide, width=1, height=16_384, fit="fill", enlarge=True))
    assert failure.code is FailureCode.TOO_MUCH_MEMORY


def test_of_an_animated_watermark_only_the_first_frame_is_decoded(rendered: Rendered) -> None:
    frames = [Image.new("RGB", (300, 300), colour) for colour in ("red", "blue") * 6]
    mark = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    limits = {"animation_pixels": 100_000}
    image, _ = rendered(encoded(Image.new("RGB", (40, 40)), "PNG"), width=40, watermark=mark, limits=limits)
    assert near(image.convert("RGB").getpixel((38, 38)), (255, 0, 0))


def test_a_png_of_very_many_chunks_is_refused_at_once(attempt: Callable[..., Any]) -> None:
    data = encoded(Image.new("RGB", (4, 4)), "PNG")
    empty = b"\0\0\0\0prVt" + zlib.crc32(b"prVt").to_bytes(4, "big")
    failure = refused(attempt(data[:33] + empty * 200_000 + data[33:], width=4))
    assert "at most 100000 chunks" in failure.detail


def refused(result: Any) -> Failure:
    assert isinstance(result, Refusal), f"it was rendered: {result}"
    return result.failure


def test_too_many_pixels_are_refused_by_the_header_alone(attempt: Callable[..., Any]) -> None:
    failure = refused(attempt(encoded(Image.new("1", (4000, 2000)), "PNG"), width=10))
    assert failure.code is FailureCode.TOO_MANY_PIXELS
    assert (failure.limit, failure.actual) == (4_000_000, 8_000_000)


def test_too_many_frames_are_refused(attempt: Callable[..., Any]) -> None:
    frames = [Image.new("L", (1, 1), shade) for shade in range(21)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    failure = refused(attempt(buffer.getvalue(), width=10))
    assert failure.code is FailureCode.TOO_MANY_FRAMES
    assert (failure.limit, failure.actual) == (20, 21)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 16384, "enlarge": True},
        {"width": 16384, "height": 16384, "fit": "cover", "enlarge": True},
        {"width": 16384, "height": 16384, "fit": "contain"},
        {"height": 16384, "enlarge": True, "format": "webp"},
    ],
)
def test_a_result_that_would_be_too_large_is_refused(options: dict[str, Any], attempt: Callable[..., Any]) -> None:
    failure = refused(attempt(encoded(Image.new("L", (1, 100)), "PNG"), **options))
    assert failure.code is FailureCode.RESULT_TOO_LARGE


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"RIFF0000WEBPVP8 "])
def test_junk_behind_a_good_head_is_refused(head: bytes, attempt: Callable[..., Any]) -> None:
    failure = refused(attempt(head + b"junk" * 100, width=10))
    assert failure.code in (FailureCode.PICTURE_UNSUPPORTED, FailureCode.PICTURE_CORRUPT)
    assert "/source" not in failure.detail, "a reason must not tell where files lie"


def test_a_corrupt_offset_is_the_pictures_fault_not_the_disks(attempt: Callable[..., Any]) -> None:
    """The operating system refuses to seek there; a job that waited for that to change would wait forever."""
    for offset in (b"\xff" * 7 + b"\x7f", b"\xff" * 8):
        failure = refused(attempt(b"II+\0\x08\0\0\0" + offset + bytes(40), width=10))
        assert failure.code in (FailureCode.PICTURE_CORRUPT, FailureCode.PICTURE_UNSUPPORTED)


def test_a_huge_webp_canvas_is_refused_before_it_is_allocated(attempt: Callable[..., Any]) -> None:
    small = encoded(Image.new("RGBA", (2, 2), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0")
    assert small[12:16] == b"VP8X"
    side = (12_000 - 1).to_bytes(3, "little")
    failure = refused(attempt(small[:24] + side + side + small[30:], width=10))
    assert failure.code is FailureCode.TOO_MANY_PIXELS
    assert failure.actual == 144_000_000


def test_what_would_not_fit_in_memory_is_refused_with_both_numbers(attempt: Callable[..., Any]) -> None:
    picture = encoded(gradient((1000, 1000)), "PNG")
    failure = refused(attempt(picture, width=900, limits={"memory": 2**28}))
    assert failure.code is FailureCode.TOO_MUCH_MEMORY
    assert failure.limit == 2**28
    assert failure.actual is not None
    assert failure.actual > 2**28 + 8_000_000


def test_a_refusal_has_the_facts_of_the_header(attempt: Callable[..., Any]) -> None:
    result = attempt(encoded(Image.new("L", (10, 1000)), "PNG"), height=16384, enlarge=True, format="webp")
    assert refused(result).code is FailureCode.RESULT_TOO_LARGE
    assert (result.facts.width, result.facts.height) == (10, 1000)


@pytest.mark.parametrize(("output", "expected"), [("png", (0, 0, 0, 128)), ("jpeg", (127, 127, 127))])
def test_a_translucent_background_is_applied_once(output: str, expected: tuple[int, ...], rendered: Rendered) -> None:
    image, _ = rendered(
        encoded(four_corners(), "PNG"), width=32, height=32, fit="contain", background="#00000080", format=output
    )
    assert near(image.getpixel((16, 2)), expected, 2)


def test_the_transparent_value_of_a_deep_grey_png_is_the_deep_one(rendered: Rendered) -> None:
    for value, transparent, alpha in ((200 * 257, 200, 255), (40_000, 40_000, 0)):
        data = encoded(Image.new("I;16", (20, 20), value), "PNG", transparency=transparent)
        image, _ = rendered(data, width=10)
        assert image.convert("RGBA").getpixel((5, 5))[3] == alpha


def test_a_gif_that_has_to_drop_partial_transparency_says_so(rendered: Rendered) -> None:
    _, result = rendered(encoded(gradient((40, 20), "RGBA"), "PNG"), width=20, format="gif")
    assert codes(result) == [WarningCode.ALPHA_FLATTENED]


def test_metadata_that_is_too_long_for_a_jpeg_is_named_and_the_picture_is_made(rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "x" * 70_000
    _, result = rendered(encoded(gradient((40, 20)), "PNG", exif=exif), width=20, format="jpeg", metadata="keep")
    assert codes(result) == [WarningCode.METADATA_DROPPED]


@pytest.mark.parametrize(
    "orientation", [b'tiff:Orientation="6"', b"><tiff:Orientation>6</tiff:Orientation></rdf:Description"]
)
def test_an_orientation_in_kept_xmp_is_upright_too(orientation: bytes, rendered: Rendered) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description ' + orientation + b"></x:xmpmeta>"
    image, result = rendered(encoded(gradient((40, 20)), "JPEG", xmp=xmp), width=20, metadata="keep")
    assert b"tiff:Orientation" in result.files[0].path.read_bytes()
    assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_tags_that_describe_the_old_file_are_not_kept(rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    image, _ = rendered(encoded(gradient((40, 20)), "TIFF", exif=exif), width=20, format="jpeg", metadata="keep")
    assert dict(image.getexif()) == {ExifTags.Base.Artist: "somebody"}
