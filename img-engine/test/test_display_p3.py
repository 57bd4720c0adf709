"""profile=p3: colours beyond sRGB stay, and those within look as they did."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from img_contract.job.outcome import WarningCode
from img_engine.render.cicp import Cicp, between, profile_of
from img_engine.render.icc import DISPLAY_P3
from img_engine.render.task import RenderOutcome
from img_testing.bombs import chunk
from img_testing.colours import delta_e00, lab_by_profile
from img_testing.samples import codes, encoded, photo
from PIL import Image

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]

LEVELS = (0, 64, 128, 192, 255)
BEST: dict[str, dict[str, Any]] = {
    "jpeg": {"quality": 100, "subsampling": "4:4:4"},
    "png": {},
    "webp": {"lossless": True},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
    "tiff": {},
}


def patches() -> Image.Image:
    """125 colours from all over the cube, in squares of 8 pixels."""
    small = Image.frombytes("RGB", (25, 5), bytes(c for r in LEVELS for g in LEVELS for b in LEVELS for c in (r, g, b)))
    return small.resize((200, 40), Image.Resampling.NEAREST)


def icc(primaries: int) -> dict[str, Any]:
    return {"icc_profile": profile_of(Cicp(primaries, 13))} if primaries != 1 else {}


def apart(image: Image.Image, source: bytes) -> float:
    """The largest ΔE00 between a result and its upload, by the profiles of both, in the middles of the squares."""
    with Image.open(io.BytesIO(source)) as upload:
        return float(delta_e00(lab_by_profile(image)[4::8, 4::8], lab_by_profile(upload)[4::8, 4::8]).max())


@pytest.mark.parametrize("output", BEST)
@pytest.mark.parametrize("primaries", [1, 12])
def test_colours_look_as_in_the_upload(primaries: int, output: str, rendered: Rendered) -> None:
    upload = encoded(patches(), **icc(primaries))
    image, result = rendered(upload, width="100%", format=output, profile="p3", **BEST[output])
    assert image.info["icc_profile"] == DISPLAY_P3
    assert apart(image, upload) < (2 if output in ("jpeg", "avif") else 1)
    assert codes(result) == []
    if primaries == 12 and output in ("png", "webp", "tiff"):
        assert image.convert("RGB").tobytes() == patches().tobytes()


def test_what_is_beyond_srgb_is_lost_without_it(rendered: Rendered) -> None:
    upload = encoded(patches(), **icc(12))
    assert apart(rendered(upload, width="100%")[0], upload) > 3


def test_wider_colours_become_the_nearest(rendered: Rendered) -> None:
    """Of BT.2020: what is within P3 stays; a profile's bytes are few."""
    within = (np.asarray(patches()) / 255.0) @ between(12, 9).T
    picture = Image.fromarray((within.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    linear = profile_of(Cicp(9, 8))
    upload = encoded(picture, icc_profile=linear)
    image, _ = rendered(upload, width="100%", profile="p3")
    assert apart(image, upload) < 2  # linear light in 8 bits is coarse
    assert len(DISPLAY_P3) < 700


def test_colours_by_cicp_and_hdr_are_converted_too(rendered: Rendered) -> None:
    numbers = encoded(patches())
    image, _ = rendered(numbers[:33] + chunk(b"cICP", bytes((12, 13, 0, 1))) + numbers[33:], width="100%", profile="p3")
    assert image.tobytes() == patches().tobytes()
    red = encoded(Image.new("RGB", (8, 8), (148, 0, 0)))  # PQ of about white's level
    by_pq = red[:33] + chunk(b"cICP", bytes((12, 16, 0, 1))) + red[33:]
    image, _ = rendered(by_pq, width="100%", profile="p3")
    assert image.info["icc_profile"] == DISPLAY_P3
    red_of_p3, green, blue = image.getpixel((4, 4))  # type: ignore[misc]
    assert (red_of_p3 > 240, green, blue) == (True, 0, 0)


@pytest.mark.parametrize("what", ["background", "watermark"])
def test_what_is_added_is_of_srgb(what: str, rendered: Rendered) -> None:
    red = Image.new("RGB", (80, 80), (200, 40, 40))
    more: dict[str, Any] = {"height": 160, "fit": "contain", "background": "#c82828"}
    if what == "watermark":
        more = {"watermark": encoded(red), "watermark_scale": 1}
    image, _ = rendered(encoded(Image.new("RGB", (80, 80), "white"), **icc(12)), width=80, profile="p3", **more)
    assert delta_e00(lab_by_profile(image)[2, 2], lab_by_profile(red)[2, 2]) < 1


@pytest.mark.parametrize(
    ("mode", "more"), [("RGB", {"grayscale": True}), ("L", {}), ("L", {"height": 90, "fit": "contain"})]
)
def test_grey_needs_no_profile(mode: str, more: dict[str, Any], rendered: Rendered) -> None:
    upload = encoded(patches().convert(mode))
    image, result = rendered(upload, width=60, profile="p3", **more)
    same, _ = rendered(upload, width=60, **more)
    assert "icc_profile" not in image.info
    assert image.tobytes() == same.tobytes()
    assert codes(result) == []


def test_a_gif_holds_no_profile_and_says_so(rendered: Rendered) -> None:
    image, result = rendered(encoded(patches(), **icc(12)), width=60, format="gif", profile="p3")
    assert codes(result) == [WarningCode.PROFILE_DROPPED]
    assert "icc_profile" not in image.info


def test_cmyk_and_a_profile_that_is_damaged_end_in_p3(rendered: Rendered) -> None:
    image, _ = rendered(encoded(photo((40, 30)).convert("CMYK"), "JPEG"), width=20, profile="p3")
    assert image.info["icc_profile"] == DISPLAY_P3
    image, result = rendered(encoded(photo((40, 30)), icc_profile=b"junk"), width=20, profile="p3")
    assert image.info["icc_profile"] == DISPLAY_P3
    assert codes(result) == [WarningCode.PROFILE_UNUSABLE]


@pytest.mark.parametrize("profile", ["p3", "keep"])
def test_the_appearance_is_told_in_srgb(profile: str, rendered: Rendered) -> None:
    upload = encoded(Image.new("RGB", (40, 40), (120, 160, 130)), **icc(12))
    _, plain = rendered(upload, width=20, placeholder="thumbhash")
    _, result = rendered(upload, width=20, profile=profile, placeholder="thumbhash")
    assert result.facts.dominant_color == plain.facts.dominant_color != "#78a082"
    assert result.facts.placeholder == plain.facts.placeholder
