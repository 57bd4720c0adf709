"""From JPEG to JPEG by the stored planes: the same picture as by the pipeline, for every option; or the pipeline."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from img_contract.job.resize import Resize
from img_engine.render.jpeg_planes.planes import _TAKES, takes
from img_engine.render.jpeg_planes.turbojpeg import turbojpeg
from img_engine.render.task import Refusal, RenderOutcome
from img_testing.options import any_value
from img_testing.samples import encoded, photo
from PIL import ExifTags, Image, ImageCms, ImageFilter

pytestmark = pytest.mark.python_independent

needs_turbojpeg = pytest.mark.skipif(turbojpeg() is None, reason="libturbojpeg is not installed")

Attempt = Callable[..., RenderOutcome | Refusal]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")


@dataclass(frozen=True)
class Both:
    """What became of an upload by either way."""

    planes: RenderOutcome | Refusal
    pixels: RenderOutcome | Refusal
    pictures: list[tuple[Image.Image, Image.Image]]

    @property
    def taken(self) -> bool:
        """Whether the planes were: no two resamplings give the very same bytes."""
        return isinstance(self.planes, RenderOutcome) and self.hashes(self.planes) != self.hashes(self.pixels)

    @staticmethod
    def hashes(result: RenderOutcome | Refusal) -> list[str]:
        return [file.sha256 for file in result.files] if isinstance(result, RenderOutcome) else []


BothWays = Callable[..., Both]


@pytest.fixture
def both_ways(attempt: Attempt) -> BothWays:
    """Render an upload of any size by planes where they suit, and by the pipeline."""

    def rendered_twice(data: bytes, **parameters: Any) -> Both:
        results, decoded = [], []
        for planes_from in (1, None):
            result = attempt(data, planes_from=planes_from, **parameters)
            results.append(result)
            files = result.files if isinstance(result, RenderOutcome) else ()
            decoded.append([Image.open(io.BytesIO(file.path.read_bytes())) for file in files])
        return Both(*results, list(zip(*decoded, strict=True)))

    return rendered_twice


def delta_e(one: Image.Image, other: Image.Image) -> Any:
    """The distance of each pixel's colours in CIELAB (CIE76)."""
    first, second = (np.asarray(ImageCms.applyTransform(image.convert("RGB"), LAB)) for image in (one, other))
    lightness = (first[..., :1].astype(float) - second[..., :1]) * 100 / 255
    colours = first[..., 1:].astype(np.int8).astype(float) - second[..., 1:].astype(np.int8)  # a and b are signed
    return np.sqrt((np.dstack((lightness, colours)) ** 2).sum(axis=-1))


def looks_the_same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ by no more than two ways of resampling and encoding do.

    Measured over 300 sizes and qualities: a mean of 1.5, at most 3 but for results of a few pixels, where each sample
    counts for more; and up to 55 at single pixels of hard edges. Another filter, crop or turn gives 10 and more.
    """
    assert one.size == other.size
    found = delta_e(one, other)
    return bool(found.mean() < 4 + 60 / min(one.size)) and bool(found.max() < 80)


@needs_turbojpeg
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("size", [(640, 480), (641, 479), (103, 57)])
def test_planes_give_the_picture_that_the_pipeline_gives(
    size: tuple[int, int], subsampling: str, both_ways: BothWays
) -> None:
    data = encoded(photo(size), "JPEG", quality=95, subsampling=subsampling)
    for width in (size[0] // 5, size[0] // 2 - 3, size[0] - 1):
        both = both_ways(data, width=width, quality=95)
        assert both.taken
        assert looks_the_same(*both.pictures[0])


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
def test_planes_are_turned_upright(orientation: int, both_ways: BothWays) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(photo((320, 192)), "JPEG", quality=95, exif=exif)
    for width in (96, 75):
        both = both_ways(data, width=width, quality=95)
        assert both.taken or width == 75
        assert looks_the_same(*both.pictures[0])


@needs_turbojpeg
def test_a_progressive_jpeg_leaves_no_trace_in_the_next_one(both_ways: BothWays) -> None:
    """TurboJPEG keeps the Huffman tables that it has made for one in the compressor, and uses them for the other."""
    both_ways(encoded(Image.new("RGB", (64, 64), "red"), "JPEG"), width=32, progressive=True)
    both = both_ways(encoded(photo((160, 120)), "JPEG"), width=90)
    assert both.taken
    assert looks_the_same(*both.pictures[0])


@needs_turbojpeg
def test_planes_are_used_for_large_pictures_unless_told_otherwise(attempt: Attempt) -> None:
    data = encoded(photo((1280, 960)), "JPEG")
    usual, pipeline = attempt(data, width=900), attempt(data, width=900, planes_from=None)
    assert Both.hashes(usual) != Both.hashes(pipeline)
    small = encoded(photo((640, 480)), "JPEG")
    usual, pipeline = attempt(small, width=450), attempt(small, width=450, planes_from=None)
    assert Both.hashes(usual) == Both.hashes(pipeline)


def test_the_table_names_parameters_that_there_are() -> None:
    assert set(_TAKES) <= set(Resize.model_fields)


def other_values(name: str) -> list[Any]:
    """Values of a parameter that are not its default."""
    found: list[Any] = []

    @settings(max_examples=20, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(any_value(name))
    def collect(value: Any) -> None:
        if getattr(Resize.model_validate({"width": 40} | {name: value}), name) != Resize.model_fields[name].default:
            found.append(value)

    collect()
    assert found, f"no value but the default was found for {name}"
    return found


@needs_turbojpeg
@pytest.mark.parametrize("name", sorted(set(Resize.model_fields) - set(_TAKES)))
def test_a_parameter_that_is_not_in_the_table_leads_to_the_pipeline(name: str, both_ways: BothWays) -> None:
    data = encoded(photo((160, 120)), "JPEG")
    assert both_ways(data, width=40).taken
    for value in other_values(name):
        assert not takes(Resize.model_validate({"width": 40, name: value}))
    assert not both_ways(data, **{"width": 40, name: other_values(name)[0]}).taken


@needs_turbojpeg
@pytest.mark.parametrize(
    "parameters",
    [
        {"format": "png"},
        {"height": 20, "fit": "cover"},
        {"height": 90, "fit": "contain"},
        {"crop": "0,0,60,60"},
        {"subsampling": "4:4:4"},
        {"variants": "30w,20x20:cover"},
        {"variants": "30w,20w.webp"},
    ],
)
def test_a_value_that_needs_more_leads_to_the_pipeline(parameters: dict[str, Any], both_ways: BothWays) -> None:
    assert not both_ways(encoded(photo((160, 120)), "JPEG"), **{"width": 40} | parameters).taken


@needs_turbojpeg
@pytest.mark.parametrize(
    "image", [photo((160, 120)).convert("L"), photo((160, 120)).convert("CMYK")], ids=["grey", "cmyk"]
)
def test_other_kinds_of_jpeg_go_through_the_pipeline(image: Image.Image, both_ways: BothWays) -> None:
    assert not both_ways(encoded(image, "JPEG"), width=40).taken


@needs_turbojpeg
def test_a_jpeg_in_other_colours_than_srgb_goes_through_the_pipeline(both_ways: BothWays) -> None:
    swapped = SRGB.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    assert both_ways(encoded(photo((160, 120)), "JPEG", icc_profile=SRGB), width=40).taken
    assert not both_ways(encoded(photo((160, 120)), "JPEG", icc_profile=swapped), width=40).taken


uploads = st.builds(
    lambda size, subsampling, profile, orientation: encoded(
        smooth(size), "JPEG", quality=95, subsampling=subsampling, icc_profile=profile, exif=described(orientation)
    ),
    st.sampled_from([(200, 150), (161, 117), (96, 128)]),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    st.sampled_from([None, SRGB]),
    st.integers(1, 8),
)


@cache
def smooth(size: tuple[int, int]) -> Image.Image:
    """Without hard edges, at which any two ways of resampling differ."""
    return photo(size).filter(ImageFilter.GaussianBlur(2))


def described(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Copyright] = "somebody"
    return exif


def some_of(names: list[str], most: int) -> st.SearchStrategy[dict[str, Any]]:
    chosen = st.lists(st.sampled_from(sorted(names)), max_size=most, unique=True)
    return chosen.flatmap(lambda chosen: st.fixed_dictionaries({name: any_value(name) for name in chosen}))


random_options = st.builds(
    lambda width, taken, other: {"width": width} | taken | other,
    st.integers(40, 300),
    some_of([name for name in Resize.model_fields if name in _TAKES], 4),
    some_of([name for name in Resize.model_fields if name not in _TAKES], 1),
)


def kept(image: Image.Image) -> dict[str, Any]:
    """The metadata of a file, and how it is stored."""
    names = ("icc_profile", "exif", "xmp", "comment", "dpi", "progressive")
    return {"format": image.format, "mode": image.mode} | {name: image.info.get(name) for name in names}


@needs_turbojpeg
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uploads, random_options)
def test_whatever_is_asked_for_both_ways_give_the_same(
    both_ways: BothWays, data: bytes, options: dict[str, Any]
) -> None:
    both = both_ways(data, limits={"pixels": 100_000}, **options)
    if isinstance(both.planes, Refusal) or isinstance(both.pixels, Refusal):
        assert both.planes == both.pixels
        return
    assert both.planes.warnings == both.pixels.warnings
    assert [(one.name, one.media_type, one.width, one.height, one.frames) for one in both.planes.files] == [
        (one.name, one.media_type, one.width, one.height, one.frames) for one in both.pixels.files
    ]
    assert both.planes.facts.model_copy(update={"dominant_color": None}) == both.pixels.facts.model_copy(
        update={"dominant_color": None}
    )
    for one, other in both.pictures:
        assert kept(one) == kept(other)
        assert looks_the_same(one, other)
