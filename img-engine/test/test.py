"""The shortest proof that the engine works: every format in, every format out, and a corrupt picture refused.

cd img-engine && python3 -m venv ./venv && source venv/bin/activate
pip install -r requirements.txt && pytest test/test.py
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pillow_heif
import pytest
from img_contract.job.outcome import FailureCode
from img_engine.render.task import Refusal
from PIL import Image, ImageChops, ImageStat


def sample(kind: str) -> bytes:
    """A 60 × 40 picture: red grows to the right, green downwards."""
    across = Image.linear_gradient("L").rotate(90).resize((60, 40))
    down = Image.linear_gradient("L").resize((60, 40))
    image = Image.merge("RGB", (across, down, Image.new("L", (60, 40), 64)))
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, quality=95)
    else:
        image.save(buffer, kind, **({"sizes": [(30, 20), (60, 40)]} if kind == "ICO" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP", "ICO"])
@pytest.mark.parametrize("output", ["jpeg", "png", "webp", "gif", "avif", "tiff"])
def test_every_format_becomes_every_format(kind: str, output: str, rendered: Callable[..., Any]) -> None:
    image, result = rendered(sample(kind), width=30, format=output)
    assert image.size == (30, 20)
    assert image.format == output.upper()
    assert (result.facts.width, result.facts.height) == (60, 40)
    with Image.open(io.BytesIO(sample("PNG"))) as original:
        expected = original.resize((30, 20), Image.Resampling.LANCZOS)
    difference = ImageStat.Stat(ImageChops.difference(image.convert("RGB"), expected))
    assert max(difference.mean) < 8, "the colours are not those of the source"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", "JPEG"),
        ("PNG", "PNG"),
        ("WEBP", "WEBP"),
        ("GIF", "GIF"),
        ("AVIF", "AVIF"),
        ("HEIF", "JPEG"),
        ("TIFF", "TIFF"),
        ("BMP", "PNG"),
        ("ICO", "PNG"),
    ],
)
def test_without_a_format_the_result_has_the_sources_or_the_nearest(
    kind: str, expected: str, rendered: Callable[..., Any]
) -> None:
    image, _ = rendered(sample(kind), height=20)
    assert image.format == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP", "ICO"])
def test_a_picture_that_breaks_off_is_refused_with_a_reason(kind: str, attempt: Callable[..., Any]) -> None:
    whole = sample(kind)
    result = attempt(whole[: len(whole) * 6 // 10], width=10)
    assert isinstance(result, Refusal)
    assert result.failure.code in (FailureCode.PICTURE_CORRUPT, FailureCode.PICTURE_UNSUPPORTED)
    assert "picture" in result.failure.detail
