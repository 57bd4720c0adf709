"""The faster ways into PNGs and from JPEG to JPEG give what the ordinary ways give, and step aside for the unusual."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from img_engine.render.jpeg_planes import planes
from img_engine.render.jpeg_planes.turbojpeg import turbojpeg
from img_engine.render.reading.png import read_png
from img_engine.render.task import Refusal, RenderOutcome
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageStat
from samples import encoded

Rendered = Callable[..., Any]

needs_turbojpeg = pytest.mark.skipif(turbojpeg() is None, reason="libturbojpeg is not installed")


def photo(size: tuple[int, int]) -> Image.Image:
    """Something with edges and colours, and no symmetry."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", (across, down, Image.effect_mandelbrot(size, (-2, -1, 1, 1), 60)))
    image.paste((250, 20, 20), (size[0] // 8, size[1] // 8, size[0] // 3, size[1] // 4))
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean of the channels' absolute differences, the largest of the channels."""
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


@pytest.fixture
def both_ways(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any, bool]]:
    """The result by way of planes, the result by way of pixels, and whether the first was really taken."""

    def rendered_twice(data: bytes, **parameters: Any) -> tuple[Any, Any, bool]:
        taken = []
        real = planes._scaled
        monkeypatch.setattr(planes, "_WORTH_IT", 1)
        monkeypatch.setattr(planes, "_scaled", lambda *a: taken.append(True) or real(*a))
        short, _ = rendered(data, **parameters)
        with monkeypatch.context() as without:
            without.setattr(planes, "turbojpeg", lambda: None)
            long, _ = rendered(data, **parameters)
        return short, long, bool(taken)

    return rendered_twice


@needs_turbojpeg
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("size", [(640, 480), (641, 479), (103, 57)])
def test_planes_give_the_picture_that_pixels_give(
    size: tuple[int, int], subsampling: str, both_ways: Callable[..., Any]
) -> None:
    data = encoded(photo(size), "JPEG", quality=95, subsampling=subsampling)
    for width in (size[0] // 5, size[0] // 2 - 3, size[0] - 1):
        short, long, taken = both_ways(data, width=width, quality=95)
        assert taken
        assert short.size == long.size
        assert difference(short, long) < 4


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
def test_planes_are_turned_upright(orientation: int, both_ways: Callable[..., Any]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(photo((320, 192)), "JPEG", quality=95, exif=exif)
    for width in (96, 75):
        short, long, taken = both_ways(data, width=width, quality=95)
        assert taken or width == 75
        assert short.size == long.size
        assert difference(short, long) < 4


@needs_turbojpeg
@pytest.mark.parametrize(
    "parameters",
    [
        {"format": "png"},
        {"height": 20, "fit": "cover"},
        {"height": 90, "fit": "contain"},
        {"grayscale": True},
        {"blur": 1},
        {"sharpen": 1},
        {"crop": "0,0,60,60"},
        {"metadata": "keep"},
        {"max_bytes": 3000},
        {"subsampling": "4:4:4"},
        {"effort": 10},
        {"placeholder": "thumbhash"},
    ],
)
def test_what_needs_to_see_colours_goes_through_the_pipeline(
    parameters: dict[str, Any], both_ways: Callable[..., Any]
) -> None:
    data = encoded(photo((160, 120)), "JPEG")
    short, long, taken = both_ways(data, **{"width": 40} | parameters)
    assert not taken
    assert short.tobytes() == long.tobytes()


@needs_turbojpeg
@pytest.mark.parametrize(
    "image", [photo((160, 120)).convert("L"), photo((160, 120)).convert("CMYK")], ids=["grey", "cmyk"]
)
def test_other_kinds_of_jpeg_go_through_the_pipeline(image: Image.Image, both_ways: Callable[..., Any]) -> None:
    assert not both_ways(encoded(image, "JPEG"), width=40)[2]


@needs_turbojpeg
def test_a_jpeg_in_other_colours_than_srgb_goes_through_the_pipeline(both_ways: Callable[..., Any]) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    assert both_ways(encoded(photo((160, 120)), "JPEG", icc_profile=srgb), width=40)[2]
    assert not both_ways(encoded(photo((160, 120)), "JPEG", icc_profile=swapped), width=40)[2]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 200), (1, 40), (40, 1)])
def test_png_is_read_to_the_pixel(size: tuple[int, int], mode: str) -> None:
    image = photo(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
    read = read_png(encoded(image, "PNG"))
    assert read is not None
    assert (read.mode, read.size) == (image.mode, image.size)
    assert read.tobytes() == image.tobytes()


def test_sixteen_bits_a_channel_are_rounded() -> None:
    values = [0, 127, 128, 129, 256, 385, 386, 0x80FF, 65_407, 65_408, 65_535]
    rows = b"\0" + b"".join(struct.pack(">HHH", value, value, value) for value in values)
    read = read_png(png(len(values), 1, 16, 2, zlib.compress(rows)))
    assert read is not None
    assert [red for red, _, _ in read.get_flattened_data()] == [round(value / 257) for value in values]


def png(width: int, height: int, depth: int, colour: int, pixels: bytes, *, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    "data",
    [
        png(4, 4, 8, 2, zlib.compress(b"\0" * 51)),  # a byte short
        png(4, 4, 8, 2, zlib.compress(b"\0" * 53)),  # a byte long
        png(4, 4, 8, 2, b"junk"),
        png(4, 4, 8, 2, zlib.compress(b"\0" * 52))[:-20],
        png(4, 4, 8, 2, zlib.compress(b"\0" * 52), interlaced=1),
        png(4, 4, 8, 3, zlib.compress(b"\0" * 20)),
        png(4, 4, 1, 0, zlib.compress(b"\0" * 8)),
        png(2**31 - 1, 2**31 - 1, 8, 6, zlib.compress(b"\0" * 52)),
        png(4, 4, 8, 2, zlib.compress(b"\7" * 52)),  # no such filter
        encoded(Image.new("P", (4, 4)), "PNG"),
        encoded(Image.new("LA", (4, 4)), "PNG"),
        encoded(Image.new("RGB", (4, 4)), "PNG", transparency=(0, 0, 0)),
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_not_usual_or_not_sound_is_left_to_pillow(data: bytes) -> None:
    assert read_png(data) is None


def test_damage_is_found_also_where_metadata_stands_behind_the_pixels(attempt: Rendered) -> None:
    """Pillow's way to such metadata decodes the picture, and would forget what it found."""
    data = encoded(photo((200, 200)), "PNG", compress_level=1)
    end = chunk(b"IEND", b"")
    for late in (b"", chunk(b"tEXt", b"Comment\0late"), chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0")):
        whole = data[: -len(end)] + late + end
        middle = len(data) // 2
        assert isinstance(attempt(whole, width=10), RenderOutcome)
        assert isinstance(attempt(whole[:middle] + b"\xa5" * 40 + whole[middle + 40 :], width=10), Refusal)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_grey_that_is_clear_is_clear_at_every_depth(depth: int, rendered: Rendered) -> None:
    """Two rows: the clear value, and another."""
    row = [bytes([0, *([value] * depth)]) for value in (0x00, 0xFF)]
    clear = chunk(b"tRNS", struct.pack(">H", 2**depth - 1))
    plain = png(8, 2, depth, 0, zlib.compress(b"".join(row)))
    at = plain.index(b"IDAT") - 4
    image, _ = rendered(plain[:at] + clear + plain[at:], width=8)
    assert [image.convert("RGBA").getpixel((3, y))[3] for y in (0, 1)] == [255, 0]


def test_the_colour_of_sixteen_bits_that_is_clear_is_clear(rendered: Rendered) -> None:
    colours = [(1, 2, 3), (1, 2, 4), (65_535, 2, 3)]
    rows = b"\0" + b"".join(struct.pack(">HHH", *colour) for colour in colours)
    plain = png(3, 1, 16, 2, zlib.compress(rows))
    at = plain.index(b"IDAT") - 4
    image, _ = rendered(plain[:at] + chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)) + plain[at:], width=3)
    assert [pixel[3] for pixel in image.get_flattened_data()] == [0, 255, 255]


def test_an_orientation_behind_the_pixels_is_found(rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(photo((40, 20)), "PNG")
    end = chunk(b"IEND", b"")
    late = data[: -len(end)] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + end
    image, result = rendered(late, width=10)
    assert image.size == (10, 20)
    assert result.facts.orientation == 6


def test_the_clear_grey_of_an_animated_png_is_clear_at_every_depth(attempt: Rendered) -> None:
    """Its frames are opened one by one, and what holds for a PNG holds for each."""
    rows = [bytes([0, *([value] * 2)]) for value in (0x00, 0xFF)]
    pixels = [zlib.compress(b"".join(rows)), zlib.compress(b"".join(reversed(rows)))]
    control = [struct.pack(">IIIIIHHBB", number, 8, 2, 0, 0, 1, 10, 1, 0) for number in (0, 1)]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one)
        for one in (
            (b"IHDR", struct.pack(">IIBBBBB", 8, 2, 2, 0, 0, 0, 0)),
            (b"acTL", struct.pack(">II", 2, 0)),
            (b"tRNS", struct.pack(">H", 3)),
            (b"fcTL", control[0]),
            (b"IDAT", pixels[0]),
            (b"fcTL", control[1]),
            (b"fdAT", struct.pack(">I", 2) + pixels[1]),
            (b"IEND", b""),
        )
    )
    result = attempt(data, width=8)
    with Image.open(result.files[0].path) as image:
        clear = []
        for number in (0, 1):
            image.seek(number)
            clear.append([image.convert("RGBA").getpixel((3, y))[3] for y in (0, 1)])
    assert clear == [[255, 0], [0, 255]]
