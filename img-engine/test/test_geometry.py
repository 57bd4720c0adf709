"""The sizes that follow from the rules, for every picture and all options."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from img_contract.job.choices import Fit, Gravity
from img_contract.job.resize import Resize
from img_engine.render.geometry import Sizes, offset, plan_sizes

pytestmark = pytest.mark.python_independent

sides = st.integers(1, 16384)
sizes = st.tuples(sides, sides)
fits = st.sampled_from(list(Fit))


@pytest.mark.parametrize(
    ("picture", "options", "expected"),
    [
        ((600, 400), {"width": 300}, Sizes((300, 200), (300, 200))),
        ((600, 400), {"height": 100}, Sizes((150, 100), (150, 100))),
        ((600, 400), {"width": 300, "height": 300}, Sizes((300, 200), (300, 200))),
        ((600, 400), {"width": 300, "height": 300, "fit": "outside"}, Sizes((450, 300), (450, 300))),
        ((600, 400), {"width": 300, "height": 300, "fit": "cover"}, Sizes((450, 300), (300, 300))),
        ((600, 400), {"width": 300, "height": 300, "fit": "contain"}, Sizes((300, 200), (300, 300))),
        ((600, 400), {"width": 300, "height": 300, "fit": "fill"}, Sizes((300, 300), (300, 300))),
        ((60, 40), {"width": 300, "height": 300}, Sizes((60, 40), (60, 40))),
        ((60, 40), {"width": 300, "height": 300, "enlarge": True}, Sizes((300, 200), (300, 200))),
        ((60, 40), {"width": 300, "height": 300, "fit": "cover"}, Sizes((60, 40), (40, 40))),
        ((60, 40), {"width": 300, "height": 300, "fit": "contain"}, Sizes((60, 40), (300, 300))),
        ((60, 40), {"width": 300, "height": 30, "fit": "fill"}, Sizes((60, 30), (60, 30))),
        ((2725, 2225), {"width": 720}, Sizes((720, 588), (720, 588))),
        ((10000, 1), {"width": 10}, Sizes((10, 1), (10, 1))),
        ((3, 2), {"width": 1}, Sizes((1, 1), (1, 1))),
    ],
)
def test_the_rules_by_example(picture: tuple[int, int], options: dict[str, object], expected: Sizes) -> None:
    assert plan_sizes(picture, Resize.model_validate(options)) == expected


@given(sizes, sizes, fits, st.booleans())
def test_no_side_is_ever_zero_and_nothing_grows_without_enlarge(
    picture: tuple[int, int], box: tuple[int, int], fit: Fit, enlarge: bool
) -> None:
    made = plan_sizes(picture, Resize(width=box[0], height=box[1], fit=fit, enlarge=enlarge))
    assert min(*made.scaled, *made.canvas) >= 1
    if not enlarge:
        assert made.scaled[0] <= picture[0]
        assert made.scaled[1] <= picture[1]


@given(sizes, sizes)
def test_inside_touches_the_box_from_within(picture: tuple[int, int], box: tuple[int, int]) -> None:
    width, height = plan_sizes(picture, Resize(width=box[0], height=box[1], enlarge=True)).scaled
    assert width <= box[0]
    assert height <= box[1]
    assert width == box[0] or height == box[1]


@given(sizes, sizes)
def test_outside_covers_the_box_and_touches_it(picture: tuple[int, int], box: tuple[int, int]) -> None:
    width, height = plan_sizes(picture, Resize(width=box[0], height=box[1], fit=Fit.OUTSIDE, enlarge=True)).scaled
    assert width >= box[0]
    assert height >= box[1]
    assert width == box[0] or height == box[1]


@given(sizes, sizes, st.sampled_from([Fit.COVER, Fit.CONTAIN, Fit.FILL]))
def test_cover_contain_and_fill_give_exactly_the_box(picture: tuple[int, int], box: tuple[int, int], fit: Fit) -> None:
    assert plan_sizes(picture, Resize(width=box[0], height=box[1], fit=fit, enlarge=True)).canvas == box


@given(sizes, sizes)
def test_cover_never_shows_an_edge(picture: tuple[int, int], box: tuple[int, int]) -> None:
    made = plan_sizes(picture, Resize(width=box[0], height=box[1], fit=Fit.COVER))
    assert made.scaled[0] >= made.canvas[0]
    assert made.scaled[1] >= made.canvas[1]


@given(sizes, sides)
def test_the_side_that_follows_is_rounded_half_up(picture: tuple[int, int], width: int) -> None:
    made = plan_sizes(picture, Resize(width=width, enlarge=True))
    exact = Fraction(picture[1] * width, picture[0])
    assert made.scaled[1] == max(1, int(exact + Fraction(1, 2)))


@given(sizes, sizes, st.sampled_from(list(Gravity)))
def test_a_box_lies_within_the_larger_one(inner: tuple[int, int], more: tuple[int, int], gravity: Gravity) -> None:
    outer = (inner[0] + more[0], inner[1] + more[1])
    left, top = offset(inner, outer, gravity)
    assert 0 <= left <= outer[0] - inner[0]
    assert 0 <= top <= outer[1] - inner[1]


@pytest.mark.parametrize(
    ("gravity", "expected"),
    [
        (Gravity.NORTHWEST, (0, 0)),
        (Gravity.NORTH, (5, 0)),
        (Gravity.NORTHEAST, (10, 0)),
        (Gravity.WEST, (0, 3)),
        (Gravity.CENTER, (5, 3)),
        (Gravity.EAST, (10, 3)),
        (Gravity.SOUTHWEST, (0, 7)),
        (Gravity.SOUTH, (5, 7)),
        (Gravity.SOUTHEAST, (10, 7)),
    ],
)
def test_nine_gravities(gravity: Gravity, expected: tuple[int, int]) -> None:
    assert offset((10, 10), (20, 17), gravity) == expected
