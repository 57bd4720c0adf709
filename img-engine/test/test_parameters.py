"""The effect of each parameter: crop, trim, turns, filters, watermark, dpr and percentages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode, WarningCode
from img_testing.samples import all_near, codes, corners, encoded, four_corners, lying, near
from PIL import Image, ImageChops, ImageFilter, ImageStat

Rendered = Callable[..., Any]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


# Crop


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(640, 480), (641, 479)])
def test_a_crop_of_a_picture_that_is_decoded_smaller_is_the_same_part(
    kind: str, size: tuple[int, int], rendered: Rendered
) -> None:
    """JPEG is decoded at 1/2, 1/4 or 1/8; the edges must lie where they would at full size."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    picture = Image.merge("RGB", (across, Image.linear_gradient("L").resize(size), Image.new("L", size, 128)))
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    box = (101, 53, 501, 403)
    image, _ = rendered(encoded(picture, kind, **options), crop="101,53,400,350", width=40, format="png")
    expected = picture.crop(box).resize((40, 35), Image.Resampling.LANCZOS)
    assert image.size == (40, 35)
    difference = ImageChops.difference(image.convert("RGB"), expected)
    assert max(high for _, high in difference.getextrema()) <= 3  # type: ignore[misc]


def test_a_crop_over_the_edge_is_clipped_and_says_so(rendered: Rendered) -> None:
    image, result = rendered(encoded(four_corners()), crop="32,16,100,100", width=100)
    assert image.size == (32, 16)
    assert all_near(corners(image), [WHITE] * 4)
    assert codes(result) == [WarningCode.CROP_CLIPPED, WarningCode.NOT_ENLARGED]


@pytest.mark.parametrize("crop", ["64,0,1,1", "0,32,1,1"])
def test_a_crop_that_begins_beyond_the_edge_is_refused(crop: str, attempt: Callable[..., Any]) -> None:
    failure = attempt(encoded(four_corners()), crop=crop, width=1).failure
    assert failure.code is FailureCode.CROP_OUTSIDE
    assert "64 × 32" in failure.detail


def test_a_crop_without_scaling_is_the_very_pixels(rendered: Rendered) -> None:
    noise = Image.effect_noise((50, 40), 90).convert("RGB")
    image, _ = rendered(encoded(noise), crop="7,9,20,10", width=20)
    assert image.tobytes() == noise.crop((7, 9, 27, 19)).tobytes()


# Trim


def test_trim_takes_what_differs_no_more_than_its_number(rendered: Rendered) -> None:
    framed = Image.new("RGB", (60, 40), (100, 100, 100))
    framed.putpixel((1, 1), (110, 100, 100))
    framed.paste("white", (20, 10, 50, 30))
    assert rendered(encoded(framed), trim=10, width=1000)[0].size == (30, 20)
    assert rendered(encoded(framed), trim=9, width=1000)[0].size == (49, 29)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_every_mode_can_be_trimmed(mode: str, rendered: Rendered) -> None:
    source = Image.new("L", (60, 40))
    source.paste(255, (20, 10, 50, 30))
    if mode == "I;16":
        source = Image.frombytes("I;16", source.size, b"".join(bytes([v, v]) for v in source.tobytes()))
    image, _ = rendered(encoded(source.convert(mode), "TIFF"), trim=20, width=1000, format="png")
    assert image.size == (30, 20)


def test_an_invisible_border_is_trimmed_whatever_colours_it_hides(rendered: Rendered) -> None:
    hidden = Image.effect_noise((60, 40), 90).convert("RGB")
    hidden.putalpha(0)
    hidden.paste((9, 9, 9, 255), (20, 10, 50, 30))
    assert rendered(encoded(hidden), trim=10, width=1000)[0].size == (30, 20)


def test_a_picture_of_one_colour_is_left_whole_and_says_so(rendered: Rendered) -> None:
    image, result = rendered(encoded(Image.new("RGB", (20, 10), "red")), trim=10, width=10)
    assert image.size == (10, 5)
    assert codes(result) == [WarningCode.PARAMETER_UNUSED]


def test_trim_comes_after_crop_and_before_the_percentage(rendered: Rendered) -> None:
    framed = Image.new("RGB", (100, 100), "black")
    framed.paste("white", (10, 10, 30, 30))
    framed.paste("white", (60, 60, 90, 80))
    image, _ = rendered(encoded(framed), crop="50,50,50,50", trim=10, width="50%")
    assert image.size == (15, 10)


# Look


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_grayscale_drops_the_colours_and_keeps_the_alpha(mode: str, rendered: Rendered) -> None:
    picture = four_corners().convert(mode)
    if mode == "RGBA":
        picture.paste((9, 9, 9, 0), (0, 0, 8, 32))
    image, _ = rendered(encoded(picture), width=64, grayscale=True)
    red, green, blue, alpha = image.convert("RGBA").split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    assert corners(image)[0][0] == pytest.approx(76, abs=2)
    assert alpha.getextrema()[0] == (0 if mode == "RGBA" else 255)


@pytest.mark.parametrize("sigma", [0.5, 2, 8])
def test_blur_is_a_gaussian_of_that_sigma_in_pixels_of_the_result(sigma: float, rendered: Rendered) -> None:
    """The variance along a blurred line is sigma squared."""
    line = Image.new("L", (129, 9))
    line.paste(255, (64, 0, 65, 9))
    image, _ = rendered(encoded(line), width=129, blur=sigma)
    weights = [image.convert("L").getpixel((x, 4)) for x in range(129)]
    variance = sum(w * (x - 64) ** 2 for x, w in enumerate(weights)) / sum(weights)
    assert variance == pytest.approx(sigma**2, rel=0.25, abs=0.1)


def test_blur_lets_nothing_invisible_tint_what_is_seen(rendered: Rendered) -> None:
    picture = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 20, 40))
    image, _ = rendered(encoded(picture), width=40, blur=3)
    seen = [image.getpixel((x, 20)) for x in range(40)]
    assert all(alpha < 8 or (red > 230 and green < 20) for red, green, _, alpha in seen), seen
    assert 100 < seen[20][3] < 150


def test_sharpen_makes_edges_steeper_and_leaves_flat_parts(rendered: Rendered) -> None:
    step = Image.new("L", (60, 20), 80)
    step.paste(170, (30, 0, 60, 20))
    soft = step.filter(ImageFilter.GaussianBlur(2))
    image, _ = rendered(encoded(soft), width=60, sharpen=2)
    before, after = (picture.convert("L") for picture in (soft, image))
    assert (
        after.getpixel((31, 10)) - after.getpixel((28, 10)) > before.getpixel((31, 10)) - before.getpixel((28, 10)) + 5
    )
    assert (after.getpixel((3, 10)), after.getpixel((57, 10))) == (80, 170)


def test_sharpen_lets_nothing_invisible_tint_what_is_seen(rendered: Rendered) -> None:
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((128, 128, 128, 255), (0, 0, 20, 40))
    image, _ = rendered(encoded(picture), width=40, sharpen=2)
    assert all(near(image.getpixel((x, 20)), (128, 128, 128, 255), 4) for x in range(20))


# Watermark


@pytest.mark.parametrize(
    ("gravity", "corner"), [("northwest", 0), ("northeast", 1), ("southwest", 2), ("southeast", 3)]
)
@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "gif", "avif", "tiff"])
def test_a_watermark_lies_where_it_is_to_lie(gravity: str, corner: int, output: str, rendered: Rendered) -> None:
    mark = encoded(Image.new("RGB", (20, 20), "red"))
    picture = encoded(Image.new("L", (100, 100), 255))
    image, _ = rendered(
        picture, watermark=mark, width=80, watermark_scale=0.5, watermark_gravity=gravity, format=output
    )
    expected: list[tuple[int, ...]] = [WHITE] * 4
    expected[corner] = RED
    assert all_near(corners(image), expected, 30)


def test_a_watermark_is_as_large_as_fits_within_its_share_of_each_result(attempt: Callable[..., Any]) -> None:
    mark = encoded(Image.new("RGB", (10, 5), "red"))
    result = attempt(
        encoded(Image.new("RGB", (100, 100), "white")), watermark=mark, width=100, variants="40w", watermark_scale=0.5
    )
    for one, side in zip(result.files, (100, 40), strict=True):
        with Image.open(one.path) as image:
            changed = ImageChops.difference(image.convert("RGB"), Image.new("RGB", image.size, "white")).getbbox()
        assert changed == (side // 2, side * 3 // 4, side, side)


@pytest.mark.parametrize(("opacity", "expected"), [(0, WHITE), (0.5, (255, 127, 127)), (1, RED)])
def test_the_opacity_of_a_watermark_is_the_one_asked_for(
    opacity: float, expected: tuple[int, ...], rendered: Rendered
) -> None:
    mark, picture = encoded(Image.new("RGB", (9, 9), "red")), encoded(Image.new("RGB", (40, 40), "white"))
    image, _ = rendered(picture, watermark=mark, width=20, watermark_scale=1, watermark_opacity=opacity)
    assert near(image.getpixel((10, 10)), expected, 2)


def test_what_is_transparent_in_a_watermark_hides_nothing(rendered: Rendered) -> None:
    mark = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    mark.paste((255, 0, 0, 255), (0, 0, 20, 40))
    image, _ = rendered(
        encoded(Image.new("RGB", (40, 40), "white")), watermark=encoded(mark), width=20, watermark_scale=1
    )
    assert near(image.getpixel((4, 10)), RED)
    assert near(image.getpixel((15, 10)), WHITE)


def test_a_watermark_is_neither_blurred_nor_grey(rendered: Rendered) -> None:
    mark = encoded(Image.new("RGB", (10, 10), "red"))
    image, _ = rendered(encoded(four_corners()), watermark=mark, width=64, watermark_scale=0.5, grayscale=True, blur=5)
    assert near(image.getpixel((62, 30)), RED, 2)


def test_a_watermark_that_is_damaged_is_named(attempt: Callable[..., Any]) -> None:
    failure = attempt(encoded(four_corners()), watermark=b"\x89PNG\r\n\x1a\n" + b"x" * 50, width=8).failure
    assert failure.code in (FailureCode.PICTURE_CORRUPT, FailureCode.PICTURE_UNSUPPORTED)
    assert failure.detail.startswith("the watermark: ")


def test_a_watermark_is_upright_and_on_every_frame(attempt: Callable[..., Any]) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("white", "black")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    mark = lying(four_corners((20, 20)), 6, "JPEG", quality=95, subsampling=0)
    result = attempt(data, watermark=mark, width=40, watermark_scale=0.5, watermark_gravity="northwest", format="png")
    with Image.open(result.files[0].path) as image:
        for frame, rest in enumerate([(255, 255, 255), (0, 0, 0)]):
            image.seek(frame)
            assert all_near(corners(image.crop((0, 0, 20, 20))), [RED, GREEN, BLUE, WHITE], 20)
            assert near(image.convert("RGB").getpixel((30, 30)), rest)


@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("output", ["gif", "png", "webp", "avif"])
def test_every_frame_of_an_animation_is_framed(fit: str, output: str, attempt: Callable[..., Any]) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    result = attempt(data, width=32, height=16, fit=fit, background="blue", format=output)
    with Image.open(result.files[0].path) as image:
        assert image.size == (32, 16)
        for frame, colour in enumerate((RED, GREEN)):
            image.seek(frame)
            edge = BLUE if fit == "contain" else colour
            found = [image.convert("RGB").getpixel((x, 8)) for x in (1, 16, 30)]
            assert all_near(found, [edge, colour, edge], 40)  # type: ignore[arg-type]


# Sizes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"width": "50%"}, (32, 16)),
        ({"height": "12.5%"}, (8, 4)),
        ({"width": "50%", "height": "25%", "fit": "fill"}, (32, 8)),
        ({"width": 10, "dpr": 2}, (20, 10)),
        ({"width": "25%", "dpr": 1.5}, (24, 12)),
        ({"width": "0.0001%"}, (1, 1)),
        ({"width": "200%"}, (64, 32)),
        ({"width": "200%", "enlarge": True}, (128, 64)),
        ({"rotate": 90, "width": "50%"}, (16, 32)),
        ({"crop": "0,0,20,10", "width": "50%"}, (10, 5)),
        ({"width": 10, "height": 10, "fit": "cover", "dpr": 1.25}, (13, 13)),
    ],
)
def test_percentages_and_dpr_by_example(options: dict[str, Any], expected: tuple[int, int], rendered: Rendered) -> None:
    image, _ = rendered(encoded(four_corners()), **options)
    assert image.size == expected


def test_smart_gravity_keeps_what_draws_the_eye(rendered: Rendered) -> None:
    plain = Image.new("RGB", (300, 100), (128, 128, 128))
    plain.paste(four_corners((60, 60)), (230, 20))
    smart, _ = rendered(encoded(plain), width=100, height=100, fit="cover", gravity="smart")
    center, _ = rendered(encoded(plain), width=100, height=100, fit="cover")
    assert max(ImageStat.Stat(center.convert("RGB")).stddev) < 5
    assert max(ImageStat.Stat(smart.convert("RGB")).stddev) > 50
