"""Several results of one upload, and their facts in the status."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode, WarningCode
from img_testing.samples import codes, encoded
from PIL import ExifTags, Image, ImageChops, ImageStat
from thash import thumb_hash_to_approximate_aspect_ratio, thumb_hash_to_average_rgba

pytestmark = pytest.mark.python_independent

Attempt = Callable[..., Any]


def picture(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Red grows to the right, green downwards, with soft rings in blue."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    notifications = Image.radial_gradient("L").resize(size).point(lambda value: abs(value * 6 % 512 - 256) * 255 // 256)
    return Image.merge("RGB", (across, Image.linear_gradient("L").resize(size), notifications))


def opened(result: Any, number: int) -> Image.Image:
    with Image.open(result.files[number].path) as image:
        image.load()
        return image


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(ImageStat.Stat(difference).mean)


def test_each_variant_has_its_name_size_and_format_in_the_order_asked(attempt: Attempt) -> None:
    result = attempt(encoded(picture()), variants="320w,64h.webp,1x1.jpg,thumb:100x100:cover:northwest.avif")
    told = [(one.name, one.media_type, one.width, one.height, one.frames) for one in result.files]
    assert told == [
        ("320w", "image/png", 320, 240, 1),
        ("64h.webp", "image/webp", 85, 64, 1),
        ("1x1.jpg", "image/jpeg", 1, 1, 1),
        ("thumb", "image/avif", 100, 100, 1),
    ]
    for number, one in enumerate(result.files):
        image = opened(result, number)
        assert image.size == (one.width, one.height)
        assert Image.MIME[image.format or ""] == one.media_type
        assert one.path.stat().st_size == one.bytes


def test_with_a_width_there_is_that_result_first(attempt: Attempt) -> None:
    result = attempt(encoded(picture()), width=50, variants="320w")
    assert [(one.name, one.width) for one in result.files] == [("image.png", 50), ("320w", 320)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_variant_looks_as_if_it_were_made_alone(kind: str, attempt: Attempt) -> None:
    """It may be scaled from a larger one, which must not be visible."""
    data = encoded(picture(), kind, **({"quality": 95} if kind == "JPEG" else {"lossless": True}))
    sizes = (600, 400, 199, 99, 30)
    result = attempt(data, variants=",".join(f"{width}w" for width in sizes), format="png")
    together = [opened(result, number).convert("RGB") for number in range(len(sizes))]
    for width, made in zip(sizes, together, strict=True):
        alone = opened(attempt(data, width=width, format="png"), 0)
        assert made.size == alone.size
        # From one that is less than twice as large nothing is made.
        assert mean_difference(made, alone) < (2 if width < 300 or kind == "JPEG" else 0.001), width


def test_variants_of_other_shapes_do_not_take_each_others_pixels(attempt: Attempt) -> None:
    halves = Image.new("RGB", (400, 400), "red")
    halves.paste("blue", (200, 0, 400, 400))
    asked = "a:300x20:fill,b:20x300:fill,c:100x100:cover:west,d:90x180:cover:east,e:10x40:contain"
    result = attempt(encoded(halves), variants=asked, background="white")
    red, blue = (255, 0, 0), (0, 0, 255)
    for number, (left, right) in enumerate([(red, blue), (red, blue), (red, blue), (red, blue)]):
        image = opened(result, number).convert("RGB")
        row = image.height // 2
        if number == 3:
            left = blue  # noqa: PLW2901  the east half alone
        for x, colour in ((0, left), (image.width - 1, right)):
            assert max(abs(a - b) for a, b in zip(image.getpixel((x, row)), colour, strict=True)) < 20  # type: ignore[arg-type]
    assert opened(result, 4).convert("RGB").getpixel((5, 2)) == (255, 255, 255)


def test_what_a_variant_does_not_say_is_as_the_other_parameters_say(attempt: Attempt) -> None:
    result = attempt(
        encoded(picture()), variants="64x64,wide:100x10:inside", fit="cover", format="webp", grayscale=True
    )
    assert [(one.width, one.height) for one in result.files] == [(64, 64), (13, 10)]
    for number in range(2):
        red, green, blue = opened(result, number).convert("RGB").split()
        assert mean_difference(Image.merge("RGB", (red,) * 3), Image.merge("RGB", (green, blue, red))) < 2


def test_dpr_counts_for_variants_too(attempt: Attempt) -> None:
    result = attempt(encoded(picture()), variants="50w,20x20:cover", dpr=1.5)
    assert [(one.width, one.height) for one in result.files] == [(75, 56), (30, 30)]


def test_every_variant_is_upright_cropped_and_converted(attempt: Attempt) -> None:
    upright = Image.new("RGB", (200, 100), "white")
    upright.paste("red", (0, 0, 100, 100))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    result = attempt(data, crop="0,0,100,100", variants="64w,16w,8w.png")
    for number in range(3):
        image = opened(result, number).convert("RGB")
        red, green, blue = image.getpixel((image.width // 2, image.height // 2))  # type: ignore[misc]
        assert red > 240
        assert max(green, blue) < 20
        assert image.width == image.height


def test_a_warning_names_its_variant(attempt: Attempt) -> None:
    result = attempt(encoded(picture((64, 48))), variants="320w,32w,9w.jpg", lossless=True)
    assert [(warning.code, warning.detail.split(":")[0]) for warning in result.warnings] == [
        (WarningCode.NOT_ENLARGED, "320w"),
        (WarningCode.PARAMETER_UNUSED, "9w.jpg"),
    ]


def test_a_variant_that_is_too_large_refuses_all(attempt: Attempt) -> None:
    failure = attempt(encoded(picture()), variants="32w,3000x3000:fill", enlarge=True).failure
    assert failure.code is FailureCode.RESULT_TOO_LARGE


def test_of_an_animation_some_variants_move_and_some_do_not(attempt: Attempt) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    result = attempt(data, variants="20w,20w.webp,20w.jpg,20w.png", width=10)
    assert [one.frames for one in result.files] == [3, 3, 3, 1, 3]
    for one in result.files:
        with Image.open(one.path) as image:
            assert getattr(image, "n_frames", 1) == one.frames
    assert codes(result) == [WarningCode.FRAMES_DROPPED]


def test_the_still_variant_of_an_animation_is_the_same_alone(attempt: Attempt) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], "PNG", save_all=True, default_image=True, append_images=frames[1:], duration=100)
    beside = opened(attempt(data, variants="20w.jpg,20w.png"), 0)
    alone = opened(attempt(data, variants="20w.jpg"), 0)
    assert mean_difference(beside, alone) < 1


def test_the_same_upload_unscaled_in_every_format_is_the_same_picture(attempt: Attempt) -> None:
    data = encoded(picture((64, 48)), "PNG")
    result = attempt(data, variants=",".join(f"64w.{kind}" for kind in ("png", "tif", "webp", "jpg", "avif", "gif")))
    for number in range(6):
        assert mean_difference(opened(result, number), picture((64, 48))) < 16


# What the status tells


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_the_dominant_colour_is_the_one_that_most_of_it_has(mode: str, attempt: Attempt) -> None:
    image = Image.new("RGB", (100, 100), (40, 40, 40))
    image.paste((200, 200, 200), (0, 0, 30, 100))
    facts = attempt(encoded(image.convert(mode), "TIFF"), width=50).facts
    shades = bytes.fromhex(facts.dominant_color.removeprefix("#"))
    assert all(abs(shade - 40) < 12 for shade in shades), facts.dominant_color


def test_what_is_invisible_does_not_dominate(attempt: Attempt) -> None:
    image = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    assert attempt(encoded(image), width=50).facts.dominant_color is None
    image.paste((250, 10, 10, 255), (0, 0, 20, 100))
    red, green, blue = bytes.fromhex(attempt(encoded(image), width=50).facts.dominant_color.removeprefix("#"))
    assert red > 230
    assert max(green, blue) < 30


@pytest.mark.parametrize("alpha", [255, 0])
def test_a_placeholder_shows_shape_colour_and_transparency(alpha: int, attempt: Attempt) -> None:
    image = Image.new("RGBA", (200, 100), (200, 40, 40, 255))
    image.paste((200, 40, 40, alpha), (0, 0, 100, 100))
    facts = attempt(encoded(image), width=100, placeholder="thumbhash").facts
    code = base64.b64decode(facts.placeholder)
    assert len(code) <= 30
    assert thumb_hash_to_approximate_aspect_ratio(code) == pytest.approx(2, rel=0.3)
    red, green, blue, opacity = thumb_hash_to_average_rgba(code)
    assert red > 0.6
    assert max(green, blue) < 0.35
    assert opacity == pytest.approx(1 if alpha else 0.5, abs=0.08)


def test_without_being_asked_for_there_is_no_placeholder(attempt: Attempt) -> None:
    assert attempt(encoded(picture()), width=50).facts.placeholder is None
