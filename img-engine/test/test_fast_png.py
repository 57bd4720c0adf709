"""The faster decoder of PNG gives what Pillow's gives, and leaves unusual and damaged files to it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from img_engine.render.reading.png import read_png
from img_engine.render.task import Refusal, RenderOutcome
from img_testing.samples import encoded, photo
from PIL import ExifTags, Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., Any]


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


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 8)])
@pytest.mark.parametrize(("colour", "mode"), [(0, "L"), (2, "RGB"), (4, "LA"), (6, "RGBA")])
def test_interlaced_pictures_of_sixteen_bits_are_rounded_and_keep_their_transparent_colour(
    colour: int, mode: str, size: tuple[int, int], rendered: Rendered
) -> None:
    """To eight bits, the transparent colour here looks like its neighbour."""
    width, height = size
    samples = np.random.default_rng(colour).integers(0, 2**16, (height, width, len(mode)))
    samples[0, 0] = 0x80FF
    samples[-1, -1] = 0x8000
    rows = b"".join(
        b"\0" + row.astype(">u2").tobytes()
        for left, top, across, down in ADAM7
        if left < width
        for row in samples[top::down, left::across]
    )
    data = png(width, height, 16, colour, zlib.compress(rows), interlaced=1)
    expected = np.floor(samples / 257 + 0.5).astype(np.uint8)
    if not mode.endswith("A"):
        clear = chunk(b"tRNS", b"\x80\0" * len(mode))
        data = data[:33] + clear + data[33:]
        expected = np.dstack((expected, np.where((samples == 0x8000).all(axis=-1), 0, 255).astype(np.uint8)))
        mode += "A"
    image, _ = rendered(data, width="100%", lossless=True)
    assert (np.asarray(image.convert(mode)) == expected.reshape(height, width, len(mode))).all()


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


def test_damage_is_found_even_if_metadata_follows_the_pixels(attempt: Rendered) -> None:
    """To read such metadata, Pillow decodes the picture, and would hide its errors."""
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


def test_an_orientation_after_the_pixels_is_found(rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(photo((40, 20)), "PNG")
    end = chunk(b"IEND", b"")
    late = data[: -len(end)] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + end
    image, result = rendered(late, width=10)
    assert image.size == (10, 20)
    assert result.facts.orientation == 6


def test_the_clear_grey_of_an_animated_png_is_clear_at_every_depth(attempt: Rendered) -> None:
    """Its frames are opened one by one, each like a PNG."""
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
