"""Writing results: lossless, progressive, within a number of bytes, in the best format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.formats import Format
from img_contract.job.outcome import WarningCode, growth
from img_testing.samples import codes, encoded
from PIL import Image, ImageChops, ImageDraw, ImageStat

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

Rendered = Callable[..., Any]
LOSSY = ("jpeg", "webp", "avif")


def photograph(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Soft shades under fine noise."""
    shades = [Image.linear_gradient("L").rotate(angle).resize(size) for angle in (0, 90, 180)]
    noise = Image.effect_noise(size, 30)
    return Image.merge("RGB", [ImageChops.add(shade, noise, 2) for shade in shades])


def graphic(size: tuple[int, int] = (400, 400)) -> Image.Image:
    """Lettering and boxes in few colours, repeated."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for x in range(0, size[0], 40):
        for y in range(0, size[1], 40):
            draw.ellipse((x + 5, y + 5, x + 30, y + 25), fill=(200, 30, 60), outline=(0, 60, 120))
            draw.text((x + 8, y + 8), "abc", fill=(0, 0, 0))
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


def size_of(result: Any) -> int:
    size: int = result.files[0].bytes
    return size


# Without loss


@pytest.mark.parametrize("output", ["webp", "png", "tiff"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_lossless_format_loses_nothing(output: str, mode: str, rendered: Rendered) -> None:
    picture = photograph().convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda alpha: max(alpha, 1)))
    image, result = rendered(encoded(picture), width=160, format=output, lossless=True)
    assert image.convert(mode).tobytes() == picture.tobytes()
    assert codes(result) == []


def test_a_lossless_animation_loses_nothing(attempt: Rendered) -> None:
    frames = [photograph(), photograph(), photograph()]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)
    with Image.open(attempt(data, width=160, format="webp", lossless=True).files[0].path) as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            assert image.convert("RGB").tobytes() == frame.tobytes()


@pytest.mark.parametrize(
    ("output", "parameter"),
    [
        ("jpeg", {"lossless": True}),
        ("avif", {"lossless": True}),
        ("jpeg", {"palette": True}),
        ("webp", {"subsampling": "4:4:4"}),
        ("png", {"progressive": True}),
        ("png", {"quality": 50}),
        ("gif", {"effort": 3}),
        ("tiff", {"effort": 3}),
        ("tiff", {"quality": 3}),
        ("gif", {"subsampling": "4:2:0"}),
    ],
)
def test_a_parameter_without_effect_is_named(output: str, parameter: dict[str, Any], rendered: Rendered) -> None:
    _, result = rendered(encoded(photograph()), width=20, format=output, **parameter)
    assert codes(result) == [WarningCode.PARAMETER_UNUSED]
    assert next(iter(parameter)) in result.warnings[0].detail
    assert output in result.warnings[0].detail


def test_a_palette_without_effect_on_an_animation_is_named_or_has_one(attempt: Rendered) -> None:
    frames = [photograph(), photograph()]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)
    result = attempt(data, width=100, palette=True)
    with Image.open(result.files[0].path) as image:
        assert image.mode == "P" or codes(result) == [WarningCode.PARAMETER_UNUSED]


# JPEG


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_progressive_jpeg_is_one_and_another_is_not(mode: str, progressive: bool, rendered: Rendered) -> None:
    image, _ = rendered(encoded(photograph().convert(mode)), width=80, format="jpeg", progressive=progressive)
    assert bool(image.info.get("progressive")) is progressive


@pytest.mark.parametrize(("subsampling", "factors"), [("4:4:4", 0x11), ("4:2:2", 0x21), ("4:2:0", 0x22), (None, 0x22)])
def test_a_jpeg_has_the_subsampling_that_was_asked_for(
    subsampling: str | None, factors: int, attempt: Rendered
) -> None:
    data = attempt(encoded(photograph()), width=80, format="jpeg", subsampling=subsampling).files[0].path.read_bytes()
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == factors


def test_full_subsampling_keeps_red_lettering_sharp_in_avif_too(rendered: Rendered) -> None:
    lines = Image.new("RGB", (80, 80), "white")
    for x in range(0, 80, 2):
        lines.paste("red", (x, 0, x + 1, 80))
    found = [
        difference(rendered(encoded(lines), width=80, format="avif", quality=90, subsampling=kind)[0], lines)
        for kind in ("4:4:4", "4:2:0")
    ]
    assert found[0] < 12
    assert found[1] > 40


# Effort and size


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif"])
def test_more_effort_is_never_a_larger_file(output: str, rendered: Rendered) -> None:
    data = encoded(graphic())
    sizes = [size_of(rendered(data, width=400, format=output, effort=effort)[1]) for effort in (1, 10)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("effort", range(1, 11))
@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "avif"])
def test_every_effort_is_possible(output: str, effort: int, rendered: Rendered) -> None:
    _, result = rendered(encoded(photograph((32, 24))), width=16, format=output, effort=effort)
    assert codes(result) == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_palette_is_a_much_smaller_png_that_looks_the_same(mode: str, rendered: Rendered) -> None:
    picture = photograph((300, 200)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    plain, of_plain = rendered(encoded(picture), width=200, format="png")
    image, of_palette = rendered(encoded(picture), width=200, format="png", palette=True)
    assert image.mode == ("L" if mode == "L" else "P")
    assert mode == "L" or size_of(of_palette) < size_of(of_plain) * 0.6
    on_white = [Image.new("RGBA", plain.size, "white") for _ in range(2)]
    for behind, front in zip(on_white, (plain, image), strict=True):
        behind.alpha_composite(front.convert("RGBA"))
    assert difference(*on_white) < 12


def test_a_palette_of_few_colours_is_exact(rendered: Rendered) -> None:
    picture = graphic()
    colours = picture.getcolors()
    assert colours is not None
    image, _ = rendered(encoded(picture), width=400, palette=True)
    assert image.convert("RGB").tobytes() == picture.tobytes()


@pytest.mark.parametrize("alpha", [0, 128])
def test_a_palette_keeps_what_is_transparent(alpha: int, rendered: Rendered) -> None:
    picture = graphic().convert("RGBA")
    picture.paste((0, 0, 0, alpha), (0, 0, 100, 400))
    image, result = rendered(encoded(picture), width=400, palette=True)
    found = image.convert("RGBA")
    assert found.getpixel((50, 50))[3] == pytest.approx(alpha, abs=4)
    assert found.getpixel((300, 102))[3] == 255
    assert codes(result) == []


def test_a_png_is_no_larger_for_the_choice_of_its_compression(rendered: Rendered) -> None:
    """Only a graphic is searched for repetition; neither result is far from the smallest."""
    for picture in (photograph((500, 400)), graphic()):
        _, result = rendered(encoded(picture), width=picture.width, format="png")
        assert size_of(result) < len(encoded(picture, compress_level=6)) * 1.1


@pytest.mark.parametrize("output", LOSSY)
def test_the_best_quality_that_fits_is_found(output: str, attempt: Rendered) -> None:
    data, most = encoded(photograph()), 3000
    result = attempt(data, width=160, format=output, max_bytes=most)
    assert size_of(result) <= most
    assert codes(result) == []
    sizes = {size_of(attempt(data, width=160, format=output, quality=quality)) for quality in range(1, 101)}
    assert size_of(result) == max(size for size in sizes if size <= most)


@pytest.mark.parametrize("output", LOSSY)
def test_a_quality_is_not_passed_for_the_sake_of_bytes(output: str, attempt: Rendered) -> None:
    data = encoded(photograph())
    plain = attempt(data, width=160, format=output, quality=40)
    limited = attempt(data, width=160, format=output, quality=40, max_bytes=1_000_000)
    assert limited.files[0].sha256 == plain.files[0].sha256


@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "gif", "avif", "tiff"])
def test_if_nothing_fits_the_smallest_is_made_and_named(output: str, attempt: Rendered) -> None:
    data = encoded(photograph())
    result = attempt(data, width=160, format=output, max_bytes=10)
    reduced = [WarningCode.COLOURS_REDUCED] if output == "png" else []
    assert codes(result) == [*reduced, WarningCode.MAX_BYTES_EXCEEDED]
    assert str(size_of(result)) in result.warnings[-1].detail
    if output in LOSSY:
        assert size_of(result) == size_of(attempt(data, width=160, format=output, quality=1))


def test_bytes_are_counted_for_an_animation_as_a_whole(attempt: Rendered) -> None:
    frames = [photograph(), photograph()]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)
    result = attempt(data, width=160, format="webp", max_bytes=8000)
    assert size_of(result) <= 8000
    assert result.files[0].frames == 2


# What suits


@pytest.mark.parametrize(
    ("kind", "accept", "expected"),
    [
        ("opaque", (), "jpeg"),
        ("transparent", (), "webp"),
        ("moving", (), "webp"),
        ("opaque", ("avif", "webp", "jpeg", "png", "gif"), "avif"),
        ("opaque", ("webp", "jpeg"), "webp"),
        ("opaque", ("png", "jpeg"), "jpeg"),
        ("opaque", ("gif",), "gif"),
        ("transparent", ("jpeg", "png"), "png"),
        ("transparent", ("jpeg",), "jpeg"),
        ("moving", ("jpeg", "gif"), "gif"),
        ("moving", ("jpeg", "png", "gif"), "png"),
        ("moving", ("jpeg",), "jpeg"),
        ("opaque with alpha", (), "jpeg"),
        ("deep", (), "jpeg"),
        ("deep and transparent", (), "webp"),
        ("deep colours and transparent", (), "webp"),
    ],
)
def test_auto_picks_what_suits_the_picture_and_the_client(
    kind: str, accept: tuple[str, ...], expected: str, attempt: Rendered
) -> None:
    deep = Image.frombytes("I;16", (40, 40), struct.pack("<1600H", *range(0, 48_000, 30)))
    data = {
        "opaque": lambda: encoded(photograph()),
        "opaque with alpha": lambda: encoded(photograph().convert("RGBA")),
        "transparent": lambda: encoded(Image.new("RGBA", (40, 40), (255, 0, 0, 100))),
        "moving": lambda: encoded(photograph(), "GIF", save_all=True, append_images=[graphic((160, 120))]),
        "deep": lambda: encoded(deep),
        "deep and transparent": lambda: encoded(deep, transparency=300),
        "deep colours and transparent": lambda: encoded(Image.new("RGB", (40, 40), "red"), transparency=(255, 0, 0)),
    }[kind]()
    result = attempt(data, width=20, format="auto", accept=tuple(map(Format, accept)))
    assert result.files[0].media_type == f"image/{expected}"
    lost = {"transparent": WarningCode.ALPHA_FLATTENED, "moving": WarningCode.FRAMES_DROPPED}
    assert codes(result) == ([lost[kind]] if expected == "jpeg" and kind in lost else [])


# TIFF and ICO


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_tiff_is_compressed_and_exact(mode: str, rendered: Rendered) -> None:
    picture = graphic().convert(mode)
    image, result = rendered(encoded(picture), width=400, format="tiff")
    assert image.convert(mode).tobytes() == picture.tobytes()
    assert size_of(result) < len(picture.tobytes()) / 10
    assert result.files[0].name == "image.tif"


def test_pages_of_a_tiff_are_named_as_lost(rendered: Rendered) -> None:
    data = encoded(photograph(), "TIFF", save_all=True, append_images=[graphic()])
    image, result = rendered(data, width=160)
    assert difference(image, photograph()) < 40
    assert codes(result) == [WarningCode.FRAMES_DROPPED]


@pytest.mark.parametrize("inner", ["png", "bmp"])
@pytest.mark.parametrize("sizes", [[(16, 16), (48, 48)], [(256, 256), (32, 32)], [(20, 20)]])
def test_of_an_icon_the_largest_picture_is_taken(sizes: list[tuple[int, int]], inner: str, rendered: Rendered) -> None:
    source = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    source.paste((255, 0, 0, 255), (0, 0, 128, 256))
    image, result = rendered(encoded(source, "ICO", sizes=sizes, bitmap_format=inner), width=1000)
    assert image.size == max(sizes)
    assert image.format == "PNG"
    side = image.width
    assert image.getpixel((side // 4, side // 2)) == (255, 0, 0, 255)
    assert image.getpixel((side * 3 // 4, side // 2))[3] == 0
    assert codes(result) == [WarningCode.NOT_ENLARGED]


def test_an_icon_whose_directory_has_a_wrong_size_is_rendered(attempt: Rendered) -> None:
    data = bytearray(encoded(Image.new("RGBA", (32, 32), "red"), "ICO", sizes=[(32, 32)]))
    data[6:8] = b"\x40\x40"  # the directory says 64 × 64
    result = attempt(bytes(data), width=16)
    assert (result.files[0].width, result.files[0].height) == (16, 16)


@pytest.mark.parametrize("metadata", ["strip", "keep"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF"])
def test_growth_is_named_in_every_format_and_never_beside_a_limit_that_was_met(
    kind: str, metadata: str, attempt: Callable[..., Any]
) -> None:
    """A file that was packed hard, rendered at its own size with nothing that changes pixels."""
    hard: dict[str, Any] = {"quality": 5} if kind in ("JPEG", "WEBP", "AVIF") else {}
    picture = photograph((64, 48)) if hard else Image.new("1", (64, 48))
    hard |= {"compression": "group4"} if kind == "TIFF" else {}
    data = encoded(picture, kind, **hard)
    for most in (None, len(data)):
        result = attempt(data, width="100%", metadata=metadata, max_bytes=most)
        size = result.files[0].bytes
        assert [warning.code for warning in growth(len(data), result.files)] == ["larger_than_upload"] * (
            size > len(data)
        )
        exceeded = WarningCode.MAX_BYTES_EXCEEDED in codes(result)
        assert exceeded is (most is not None and size > len(data))
        assert most or kind in ("PNG", "GIF") or size > len(data)
