"""BMPs whose pixels are taken apart by masks of any kind."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode
from img_contract.job.resize import Resize
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from img_testing.bombs import masked_bmp
from PIL import Image

pytestmark = pytest.mark.python_independent

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)
CASES = Path(__file__).parents[3] / "shared" / "cases"


def decoded(data: bytes, folder: Path) -> Any:
    source = folder / "source"
    source.write_bytes(data)
    result = render(Task(source, Format.BMP, Resize(width="100%", format=Format.PNG), folder / "result", LIMITS))
    assert isinstance(result, RenderOutcome), result
    with Image.open(result.files[0].path) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


@st.composite
def masks(draw: st.DrawFn) -> tuple[int, tuple[int, ...]]:
    """Bits of a pixel, and masks for three or four channels in any order, some with gaps between them."""
    bits = draw(st.sampled_from([16, 32]))
    channels = draw(st.integers(3, 4))
    widths = draw(st.lists(st.integers(1, 12), min_size=channels, max_size=channels))
    gaps = draw(st.lists(st.integers(0, 2), min_size=channels, max_size=channels))
    assume(sum(widths) + sum(gaps) <= bits)
    found, at = [], 0
    for width, gap in zip(widths, gaps, strict=True):
        found.append(((1 << width) - 1) << (at + gap))
        at += width + gap
    return bits, tuple(draw(st.permutations(found)))


@given(masks(), st.integers(1, 20), st.integers(1, 9), st.booleans(), st.integers(0, 2**32))
@examples(max_examples=100, deadline=None)
def test_pixels_of_any_masks_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    masked: tuple[int, tuple[int, ...]],
    width: int,
    height: int,
    upwards: bool,
    seed: int,
) -> None:
    bits, masks = masked
    words = np.random.default_rng(seed).integers(0, 1 << bits, (height, width), np.uint64)
    data = masked_bmp(words, bits, masks, upwards=upwards)
    found = decoded(data, tmp_path_factory.mktemp("bmp", numbered=True))
    for number, mask in enumerate(masks):
        low = mask & -mask
        expected = (words & np.uint64(mask)).astype(float) / low * 255 / (mask // low)
        assert np.abs(found[..., number] - expected).max() <= 1


@pytest.mark.parametrize(
    ("bits", "compression", "what"),
    [
        (32, 3, "masks of F0F0, 0, 1 in 32 bits a pixel"),
        (24, 4, "compression 4 and 24 bits a pixel"),
        (0, 5, "compression 5 and 0 bits a pixel"),
    ],
)
def test_what_cannot_be_read_is_named(
    bits: int, compression: int, what: str, attempt: Callable[..., RenderOutcome | Refusal]
) -> None:
    about = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, bits, compression, 0, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 200, 0, 0, 66) + about + struct.pack("<3I", 0xF0F0, 0, 1) + bytes(100)
    result = attempt(data, width=4)
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_UNSUPPORTED
    assert result.failure.detail == f"a BMP with {what} cannot be read"


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
def test_the_public_report_is_closed(tmp_path: Path) -> None:
    found = decoded((CASES / "bmp-32bit-bitfields-bmpsuite-good.bmp").read_bytes(), tmp_path)
    assert found.shape == (64, 127, 4)
    assert found[0, 0].tolist() == [255, 0, 0, 255]
