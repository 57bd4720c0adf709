"""Combining orientations, boxes in pictures that are stored on their side, and exact sizes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from img_contract.job.choices import Fit
from img_contract.job.outcome import WarningCode
from img_contract.job.resize import Resize
from img_engine.render.geometry import plan_sizes
from img_engine.render.orientation import TRANSPOSES, as_seen, as_stored, sideways, turned
from img_testing.samples import all_near, corners, four_corners, lying
from PIL import Image, ImageOps

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., Any]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


orientations = st.integers(1, 8)
turns = st.sampled_from([0, 90, 180, 270])
sides = st.integers(1, 16384)
LENGTHS = [*range(1, 101), *range(101, 16384, 97), 16383, 16384]
sizes = st.tuples(sides, sides)
hundredths = st.integers(1, 100_000)


def numbered(width: int, height: int) -> Image.Image:
    """Every pixel differs from all others."""
    return Image.frombytes("L", (width, height), bytes(range(width * height)))


def seen(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


@given(orientations, turns, st.booleans(), st.booleans())
def test_turning_at_once_is_turning_one_after_the_other(orientation: int, degrees: int, flip: bool, flop: bool) -> None:
    image = numbered(5, 3)
    expected = seen(image, orientation).rotate(-degrees, expand=True)
    expected = ImageOps.flip(expected) if flip else expected
    expected = ImageOps.mirror(expected) if flop else expected
    at_once = seen(image, turned(orientation, degrees, flip=flip, flop=flop))
    assert (at_once.size, at_once.tobytes()) == (expected.size, expected.tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_the_one_of_exif(orientation: int) -> None:
    image = numbered(5, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    expected = ImageOps.exif_transpose(image)
    found = seen(image, orientation)
    assert (found.size, found.tobytes()) == (expected.size, expected.tobytes())
    assert as_seen(image.size, orientation) == found.size
    assert sideways(orientation) is (found.size != image.size)


@given(orientations, st.lists(turns, max_size=5), st.lists(turns, max_size=5))
def test_turns_add_up(orientation: int, some: list[int], more: list[int]) -> None:
    one = orientation
    for degrees in some + more:
        one = turned(one, degrees, flip=False, flop=False)
    assert one == turned(orientation, sum(some + more) % 360, flip=False, flop=False)


@given(orientations, st.booleans(), st.booleans())
def test_a_mirror_twice_is_none(orientation: int, flip: bool, flop: bool) -> None:
    once = turned(orientation, 0, flip=flip, flop=flop)
    assert turned(once, 0, flip=flip, flop=flop) == orientation


@given(orientations, st.data())
def test_a_box_in_the_stored_picture_has_the_pixels_of_the_box_that_is_seen(orientation: int, data: Any) -> None:
    stored = (data.draw(st.integers(1, 15)), data.draw(st.integers(1, 15)))
    image = numbered(*stored)
    upright = seen(image, orientation)
    left, top = data.draw(st.integers(0, upright.width - 1)), data.draw(st.integers(0, upright.height - 1))
    right, bottom = data.draw(st.integers(left + 1, upright.width)), data.draw(st.integers(top + 1, upright.height))
    box = as_stored((left, top, right, bottom), stored, orientation)
    found = seen(image.crop(box), orientation)
    expected = upright.crop((left, top, right, bottom))
    assert (found.size, found.tobytes()) == (expected.size, expected.tobytes())


@given(orientations, sizes)
def test_the_whole_is_the_whole(orientation: int, stored: tuple[int, int]) -> None:
    assert as_stored((0, 0, *as_seen(stored, orientation)), stored, orientation) == (0, 0, *stored)


# In the pipeline


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_crop_is_meant_upright(kind: str, orientation: int, rendered: Rendered) -> None:
    data = lying(four_corners((128, 64)), orientation, kind)
    image, result = rendered(data, crop="64,0,64,32", width=16, format="png")
    assert image.size == (16, 8)
    assert all_near(corners(image), [GREEN] * 4, 30)
    assert not result.warnings


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_border_is_trimmed_by_the_corner_that_is_top_left_when_upright(
    orientation: int, rendered: Callable[..., Any]
) -> None:
    framed = Image.new("RGB", (80, 60), "black")
    framed.paste((200, 200, 200), (0, 45, 80, 60))  # no border: it is not of the corner's colour
    framed.paste(four_corners((40, 30)), (10, 10))
    image, result = rendered(lying(framed, orientation, "PNG"), trim=0, width=1000)
    assert image.size == (80, 50)
    assert [warning.code for warning in result.warnings] == [WarningCode.NOT_ENLARGED]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mirror", [{}, {"flip": True}, {"flop": True}, {"flip": True, "flop": True}])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_it_is_rotated_clockwise_then_mirrored(
    rotate: int, mirror: dict[str, bool], orientation: int, rendered: Callable[..., Any]
) -> None:
    upright = four_corners()
    image, result = rendered(lying(upright, orientation, "PNG"), rotate=rotate, width="50%", **mirror)
    expected = upright.rotate(-rotate, expand=True)
    if mirror.get("flip"):
        expected = expected.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if mirror.get("flop"):
        expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert image.size == (expected.width // 2, expected.height // 2)
    assert all_near(corners(image), corners(expected))
    assert (result.facts.width, result.facts.height, result.facts.orientation) == (64, 32, orientation)


# Sizes


def half_up(exact: Fraction) -> int:
    return max(1, (2 * exact.numerator + exact.denominator) // (2 * exact.denominator))


@given(sizes, hundredths, hundredths, st.integers(1, 100))
def test_percentages_times_dpr_are_exact(picture: tuple[int, int], across: int, down: int, tenths: int) -> None:
    options = Resize(
        width=f"{across / 100:.2f}%", height=f"{down / 100:.2f}%", fit=Fit.FILL, enlarge=True, dpr=max(0.1, tenths / 10)
    )
    factor = Fraction(tenths, 10)
    expected = tuple(
        half_up(side * Fraction(share, 10_000) * factor) for side, share in zip(picture, (across, down), strict=True)
    )
    assert plan_sizes(picture, options).canvas == expected


@given(sizes, hundredths)
def test_the_side_that_follows_a_percentage_follows_the_rounded_one(picture: tuple[int, int], across: int) -> None:
    made = plan_sizes(picture, Resize(width=f"{across / 100:.2f}%", enlarge=True))
    width = half_up(picture[0] * Fraction(across, 10_000))
    assert made.canvas == (width, half_up(Fraction(picture[1] * width, picture[0])))


@given(sides, st.decimals("0.1", "10", places=3), sizes)
def test_dpr_is_the_decimal_that_was_written(side: int, dpr: Any, picture: tuple[int, int]) -> None:
    if side * dpr > 16384:
        side = max(1, int(16384 / dpr))
    made = plan_sizes(picture, Resize(width=side, height=side, dpr=float(dpr), fit=Fit.FILL, enlarge=True))
    assert made.canvas == (half_up(side * Fraction(dpr)),) * 2


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("enlarge", [True, False])
def test_no_picture_is_so_long_that_a_side_is_zero(fit: Fit, enlarge: bool) -> None:
    options = Resize(width=1, height="0.0001%", dpr=0.1, fit=fit, enlarge=enlarge)
    for side in LENGTHS:
        for made in (plan_sizes((side, 1), options), plan_sizes((1, side), options)):
            assert min(*made.scaled, *made.canvas) >= 1


@pytest.mark.parametrize("options", [{"width": 1}, {"height": 1}, {"width": "0.0001%"}, {"height": "0.0001%"}])
def test_no_side_that_follows_is_zero(options: dict[str, Any]) -> None:
    asked = Resize.model_validate(options)
    assert all(min(plan_sizes((side, 16385 - side), asked).canvas) >= 1 for side in range(1, 16385))
