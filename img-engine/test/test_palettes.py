"""Palettes: colours that few pixels have, indexed PNGs that stay so, PNGs that have to fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from img_contract.job.outcome import WarningCode
from img_engine.render.task import RenderOutcome
from img_engine.render.writing.rare_colours import with_rare_colours
from img_testing.samples import codes, encoded, near, photo
from PIL import Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]
CASES = Path(__file__).parents[3] / "shared" / "cases"


def noisy(size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Many greenish and bluish colours, as of a landscape."""
    chance = np.random.default_rng(5)
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    colours = np.stack([40 + 90 * across, 80 + 120 * down, 200 - 150 * across * down], axis=-1)
    return Image.fromarray((colours + chance.normal(0, 9, colours.shape)).clip(0, 255).astype(np.uint8))


def error(one: Any, other: Any) -> float:
    difference = np.asarray(one.convert("RGB")).astype(float) - np.asarray(other.convert("RGB"))
    return float((difference**2).mean())


RARE = {(230, 20, 30): (10, 10, 8), (250, 230, 0): (60, 100, 6), (255, 0, 255): (200, 30, 5)}


@pytest.mark.parametrize("options", [{"format": "gif"}, {"format": "png", "palette": True}])
@pytest.mark.parametrize("transparent", [False, True])
def test_colours_of_few_pixels_stay(options: dict[str, Any], transparent: bool, rendered: Rendered) -> None:
    picture = noisy()
    for colour, (left, top, side) in RARE.items():
        picture.paste(colour, (left, top, left + side, top + side))
    if transparent:
        picture.putalpha(Image.new("L", picture.size, 255))
        picture.paste((255, 0, 0, 0), (250, 150, 300, 200))
    image, _ = rendered(encoded(picture), width="100%", **options)
    seen = image.convert("RGBA")
    for colour, (left, top, side) in RARE.items():
        assert near(seen.getpixel((left + side // 2, top + side // 2)), (*colour, 255), 3)
    assert seen.getpixel((280, 180))[3] == (0 if transparent else 255)  # type: ignore[index]


@pytest.mark.parametrize("make", [noisy, lambda: photo((300, 200)), lambda: photo((64, 64)).rotate(20)])
def test_the_error_of_the_whole_is_never_larger(make: Callable[[], Image.Image]) -> None:
    picture = make()
    before = picture.quantize(256, Image.Quantize.MEDIANCUT)
    after = with_rare_colours(before, picture)
    assert error(after, picture) <= error(before, picture)


def test_a_smooth_picture_is_left_as_it_is() -> None:
    picture = Image.merge("RGB", (Image.linear_gradient("L"),) * 3)
    before = picture.quantize(256, Image.Quantize.MEDIANCUT)
    assert with_rare_colours(before, picture) is before


def graphic() -> Image.Image:
    picture = Image.new("RGB", (400, 300), "white")
    for number in range(24):
        colour = (number * 10, 255 - number * 9, number * 37 % 256)
        picture.paste(colour, (number * 16, 20 + number * 7, number * 16 + 12, 60 + number * 9))
    return picture.quantize(64)


def test_an_indexed_png_stays_so_where_that_is_smaller(rendered: Rendered) -> None:
    image, result = rendered(encoded(graphic(), "PNG"), width=350)
    exact, larger = rendered(encoded(graphic(), "PNG"), width=350, lossless=True)
    assert image.mode == "P"
    assert exact.mode == "RGB"
    assert result.files[0].bytes < larger.files[0].bytes
    assert error(image, exact) < 4
    assert result.warnings == ()


def test_an_indexed_png_with_transparency_stays_so(rendered: Rendered) -> None:
    image, _ = rendered(encoded(graphic(), "PNG", transparency=bytes([0, 128] + [255] * 62)), width=350)
    assert image.mode == "P"
    exact, _ = rendered(encoded(graphic(), "PNG", transparency=bytes([0, 128] + [255] * 62)), width=350, lossless=True)
    difference = np.asarray(image.convert("RGBA")).astype(int)[..., 3] - np.asarray(exact.convert("RGBA"))[..., 3]
    assert np.abs(difference).mean() < 4


def test_a_palette_of_few_translucent_colours_is_exact(rendered: Rendered) -> None:
    picture = graphic().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda value: value // 64 * 64))
    picture = picture.quantize(40, Image.Quantize.FASTOCTREE).convert("RGBA")
    image, _ = rendered(encoded(picture), width="100%", palette=True)
    assert image.mode == "P"
    assert image.convert("RGBA").tobytes() == picture.tobytes()


def test_a_png_that_has_to_fit_is_compressed_harder_then_reduced(rendered: Rendered) -> None:
    data = encoded(noisy())
    _, full = rendered(data, width="100%")
    image, result = rendered(data, width="100%", max_bytes=full.files[0].bytes * 2 // 3)
    assert image.mode == "P"
    assert result.files[0].bytes <= full.files[0].bytes * 2 // 3
    assert codes(result) == [WarningCode.COLOURS_REDUCED]
    _, tight = rendered(data, width="100%", max_bytes=1000)
    assert codes(tight) == [WarningCode.COLOURS_REDUCED, WarningCode.MAX_BYTES_EXCEEDED]
    exact, never = rendered(data, width="100%", max_bytes=1000, lossless=True)
    assert exact.mode == "RGB"
    assert codes(never) == [WarningCode.MAX_BYTES_EXCEEDED]


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
def test_the_public_reports_are_closed(rendered: Rendered) -> None:
    data = (CASES / "palette-loses-small-red-and-green.jpg").read_bytes()
    with Image.open(CASES / "palette-loses-small-red-and-green.jpg") as opened:
        original = np.asarray(opened.convert("RGB")).astype(int)
    for options in ({"format": "gif"}, {"format": "png", "palette": True}):
        image, _ = rendered(data, width="100%", **options)
        found = np.asarray(image.convert("RGB")).astype(int)
        for colour in ((230, 20, 30), (20, 230, 60)):
            there = np.abs(original - colour).sum(axis=-1) < 25
            assert there.sum() > 100
            assert np.abs(found[there].mean(axis=0) - colour).max() < 3
    data = (CASES / "png-indexed-12kB-grows-to-89kB.png").read_bytes()
    image, result = rendered(data, width=700)
    assert image.mode == "P"
    assert result.files[0].bytes < 30_000
