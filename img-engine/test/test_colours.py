"""Colours by whatever the file says: CICP in PNG, AVIF and HEIC, gAMA and cHRM in PNG, in the specifications' order."""

from __future__ import annotations

import colorsys
import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from img_contract.job.outcome import WarningCode
from img_engine.render.cicp import Cicp, between, matrix_profile, profile_of
from img_engine.render.task import RenderOutcome
from img_testing.bombs import chunk
from img_testing.samples import codes, encoded
from PIL import Image, ImageCms

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]
CASES = Path(__file__).parents[3] / "shared" / "cases"

GAMUT = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (128, 128, 128),
    (200, 80, 40),
    (30, 140, 90),
    (20, 20, 60),
]
D65 = (0.3127, 0.3290)


def in_srgb() -> Any:
    """Patches of 16 × 16 pixels, in linear light: rows × columns × channels."""
    row = np.repeat(np.array(GAMUT, float) / 255, 16, axis=0)
    return np.repeat(linear(row)[None], 16, axis=0)


def linear(encoded: Any) -> Any:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb(light: Any) -> Any:
    light = np.asarray(light).clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def eight(levels: Any) -> Image.Image:
    return Image.fromarray((levels.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def pq(light: Any) -> Any:
    """ST 2084, of cd/m²."""
    power = (np.maximum(light, 0) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def png_with(picture: Image.Image, *chunks: bytes, **options: Any) -> bytes:
    data = encoded(picture, "PNG", **options)
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int, *, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, full)))


def chromaticities(*numbers: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers)))


def gamma(number: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", number))


def error(image: Image.Image, light: Any) -> float:
    """The mean error of a result against what it should be."""
    expected = srgb(light) * 255
    return float(np.abs(np.asarray(image.convert("RGB")).astype(float) - expected).mean())


P3 = in_srgb() @ np.linalg.inv(between(12, 1)).T
ADOBE = chromaticities(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

SAID: dict[str, Callable[[], bytes]] = {
    "png cICP P3": lambda: png_with(eight(srgb(P3)), cicp(12, 13)),
    "png cICP linear": lambda: png_with(eight(in_srgb()), cicp(1, 8)),
    "png gAMA linear": lambda: png_with(eight(in_srgb()), gamma(100_000)),
    "png cHRM P3, gAMA 2.2": lambda: png_with(
        eight(srgb(P3)), chromaticities(0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), gamma(45_455)
    ),
    "png gAMA of sRGB": lambda: png_with(eight(srgb(in_srgb())), gamma(45_455)),
    "png sRGB before gAMA": lambda: png_with(eight(srgb(in_srgb())), chunk(b"sRGB", b"\0"), gamma(100_000)),
    "png cICP before iCCP": lambda: png_with(
        eight(srgb(P3)), cicp(12, 13), icc_profile=matrix_profile((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), D65, (1.0,))
    ),
    "png iCCP before gAMA": lambda: png_with(eight(srgb(P3)), gamma(100_000), icc_profile=profile_of(Cicp(12, 13))),
    "png cICP unknown, iCCP": lambda: png_with(eight(srgb(P3)), cicp(99, 13), icc_profile=profile_of(Cicp(12, 13))),
    "avif nclx P3": lambda: nclx(eight(srgb(P3)), 12, 13),
    "avif nclx of sRGB": lambda: nclx(eight(srgb(in_srgb())), 1, 1),
    "avif unsaid": lambda: nclx(eight(srgb(in_srgb())), 2, 2),
    "avif profile before nclx": lambda: nclx(eight(srgb(P3)), 1, 8, icc_profile=profile_of(Cicp(12, 13))),
}


def nclx(picture: Image.Image, primaries: int, transfer: int, **options: Any) -> bytes:
    """An AVIF whose primaries and curve are those."""
    data = bytearray(encoded(picture, "AVIF", quality=100, subsampling="4:4:4", **options))
    at = data.index(b"nclx")
    data[at + 4 : at + 8] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("name", SAID)
def test_colours_are_what_the_file_says(name: str, rendered: Rendered) -> None:
    image, result = rendered(SAID[name](), width="100%", format="png")
    assert error(image, in_srgb()) < 1.2
    assert result.warnings == ()


def test_grey_and_transparent_pictures_are_converted_too(rendered: Rendered) -> None:
    ramp = Image.linear_gradient("L")
    grey, _ = rendered(png_with(ramp, gamma(100_000)), width="100%")
    assert grey.mode == "L"
    assert abs(grey.getpixel((0, 128)) - 188) <= 1  # type: ignore[operator]
    clear = Image.merge("RGBA", (ramp, ramp, ramp, ramp))
    image, _ = rendered(png_with(clear, gamma(100_000)), width="100%")
    assert image.getpixel((0, 128)) == pytest.approx((188, 188, 188, 128), abs=1)


@pytest.mark.parametrize("output", ["png", "jpeg", "webp", "avif", "tiff"])
def test_what_the_file_says_is_kept_as_a_profile(output: str, rendered: Rendered) -> None:
    image, result = rendered(SAID["png cICP P3"](), width="100%", format=output, profile="keep")
    assert result.warnings == ()
    converted = ImageCms.profileToProfile(
        image.convert("RGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])),
        ImageCms.createProfile("sRGB"),
    )
    assert converted is not None
    assert error(converted, in_srgb()) < 6  # JPEG at 80


@pytest.mark.parametrize(
    "one",
    [
        chromaticities(*[0.0] * 8),
        chromaticities(0.3127, 0.3290, *[0.3] * 6),
        chromaticities(0.3127, 0.0001, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
        chunk(b"cHRM", b"\xff" * 32),
        chunk(b"cHRM", b"\1"),
        gamma(0),
        gamma(1),
        gamma(2**32 - 1),
        chunk(b"gAMA", b""),
        chunk(b"cICP", b"\1"),
        cicp(0, 0),
        cicp(12, 13, full=0),
    ],
)
def test_what_makes_no_sense_is_ignored(one: bytes, rendered: Rendered) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, _ = rendered(png_with(eight(srgb(in_srgb())), one), width="100%")
    assert image.size == (128, 16)


def test_numbers_without_a_meaning_are_named(rendered: Rendered) -> None:
    _, result = rendered(nclx(eight(srgb(in_srgb())), 77, 13), width=20)
    assert codes(result) == [WarningCode.PROFILE_UNUSABLE]


IN_2020 = in_srgb() @ np.linalg.inv(between(9, 1)).T


@pytest.mark.parametrize("make", [png_with, None])
def test_pq_as_bright_as_white_is_only_converted(make: Any, rendered: Rendered) -> None:
    picture = eight(pq(IN_2020 * 203))
    data = png_with(picture, cicp(9, 16)) if make else nclx(picture, 9, 16)
    image, result = rendered(data, width="100%", format="png")
    assert error(image, in_srgb()) < (1.5 if make else 5)  # 8 bits of PQ are coarse
    assert result.warnings == ()


def test_what_the_decoder_cuts_off_ten_bits_is_made_up_for(rendered: Rendered) -> None:
    """The file: `hues()` by PQ and BT.2020 in a PNG of 16 bits, then avifenc -y 444 -d 10 -r full --cicp 9/16/9."""
    image, _ = rendered((Path(__file__).parent / "data" / "pq-10bit.avif").read_bytes(), width="100%", format="png")
    assert error(image, linear(hues())) < 2  # 1.8; without it 2.5
    greys = np.asarray(image)[:, -5].astype(int)
    assert (np.ptp(greys, axis=1) == 0).all()


def hues() -> Any:
    """All hues, light and dark, beside a ramp of greys; rows × columns × channels, 0 to 1, by sRGB's curve."""
    rows = [
        [colorsys.hsv_to_rgb(x / 96, 1 - (y % 32) / 40, 1 if y < 32 else 0.35) for x in range(88)] + [(y / 63,) * 3] * 8
        for y in range(64)
    ]
    return np.array(rows)


def test_hlg_is_converted_by_its_own_white(rendered: Rendered) -> None:
    """75 % of HLG's signal is white (BT.2408)."""
    image, _ = rendered(png_with(Image.new("RGB", (8, 8), (191, 191, 191)), cicp(9, 18)), width="100%")
    assert min(image.getpixel((4, 4))) >= 253  # type: ignore[arg-type]


@pytest.mark.parametrize("transfer", [16, 18])
def test_what_is_brighter_than_white_is_compressed(transfer: int, rendered: Rendered) -> None:
    ramp = Image.linear_gradient("L").rotate(90)
    data = png_with(Image.merge("RGB", (ramp, ramp, ramp)), cicp(9, transfer))
    image, result = rendered(data, width="100%", profile="keep")
    assert codes(result) == [WarningCode.HDR_TONE_MAPPED, WarningCode.PROFILE_DROPPED]
    row = np.asarray(image.convert("L"))[10].astype(int)
    row = row if row[0] < row[-1] else row[::-1]
    assert (np.diff(row) >= 0).all()
    assert row[-1] >= 253
    assert len(np.unique(row[190:])) >= 12, "what is bright is not cut off"


def test_a_profile_that_is_made_says_what_lcms_understands() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_of(Cicp(12, 13)) or b""))
    red = profile.profile.red_colorant
    assert red is not None
    assert red[0] == pytest.approx((0.51512, 0.2412, -0.00105), abs=0.0005)  # Apple's Display P3
    assert profile.profile.version == pytest.approx(4.3)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("png-cICP-display-p3.png", 0.5),
        ("png-gAMA-1.0-linear.png", 0.5),
        ("png-cHRM-gAMA-adobe-rgb.png", 2.5),
        ("avif-nclx-display-p3-no-icc.avif", 1),
        ("avif-nclx-bt2020-pq-10bit.avif", 2.6),  # decoded to 8 bits
    ],
)
def test_the_public_reports_are_closed(name: str, most: float, rendered: Rendered) -> None:
    image, _ = rendered((CASES / name).read_bytes(), width="100%", format="png")
    with Image.open(CASES / "expected-colours.png") as expected:
        light = linear(np.asarray(expected.convert("RGB")) / 255)
    assert error(image, light) < most
