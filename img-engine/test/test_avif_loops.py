"""The loop count of an animated AVIF: from and to the other formats, and in damaged files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from img_engine.render.writing.avif_loops import read_loop_count, with_loop_count
from PIL import Image

pytestmark = pytest.mark.python_independent


def moving(kind: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=[100, 200, 300], **options)
    return buffer.getvalue()


AVIF = moving("AVIF")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 65_535])
def test_what_is_written_is_read_again_and_nothing_else_is_changed(count: int) -> None:
    written = with_loop_count(AVIF, count)
    assert read_loop_count(written) == count
    assert len(written) == len(AVIF)
    with Image.open(io.BytesIO(written)) as image:
        assert image.n_frames == 3
        durations = []
        for number in range(3):
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
    assert durations == [100, 200, 300]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_loop_counts_go_into_avif_and_out_of_it(count: int, attempt: Callable[..., Any]) -> None:
    result = attempt(moving("WEBP", loop=count), width=8, format="avif").files[0]
    assert read_loop_count(result.path.read_bytes()) == count
    result = attempt(with_loop_count(AVIF, count), width=8, format="webp").files[0]
    with Image.open(result.path) as image:
        assert image.info["loop"] == count


@given(st.binary(max_size=200), st.integers(0, len(AVIF)))
def test_a_damaged_file_gives_some_number_and_does_no_harm(junk: bytes, at: int) -> None:
    assert read_loop_count(AVIF[:at] + junk + AVIF[at + len(junk) :]) >= 0
    assert read_loop_count(AVIF[:at]) >= 0
