"""Animated GIFs with transparency, where black stays black; and GIFs that are odd, or hostile."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode
from img_engine.render.animation import compose
from img_engine.render.reading.gif import read_gif
from img_engine.render.task import Refusal, RenderOutcome
from img_testing import trial
from PIL import Image

pytestmark = pytest.mark.python_independent

NOTHING, BLACK, RED = (0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 255)

Attempt = Callable[..., Any]


def framed(*colours: tuple[int, int, int, int]) -> Image.Image:
    """The first colour around the second."""
    image = Image.new("RGBA", (16, 16), colours[0])
    image.paste(colours[-1], (4, 4, 12, 12))
    return image


def moving(*frames: Image.Image) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "frames",
    [
        [framed(NOTHING, RED), framed(BLACK, RED), framed(BLACK, NOTHING)],
        [framed(NOTHING), framed(RED), framed(NOTHING)],
        [framed(NOTHING), framed(NOTHING, BLACK), framed(BLACK, RED)],
        [framed(RED, BLACK), framed(NOTHING, BLACK), framed(RED, NOTHING)],
    ],
    ids=["black around", "nothing first and last", "black from nothing", "holes"],
)
def test_every_frame_has_the_colours_it_had(frames: list[Image.Image], attempt: Attempt) -> None:
    result = attempt(moving(*frames), width=16, format="gif")
    data = result.files[0].path.read_bytes()
    assert data.count(b"GIF8") == 1
    composed = compose(read_gif(data, 99), (16, 16), lambda image: image.convert("RGBA"))
    played = [frame.image.convert("RGBA") for frame in composed]
    assert [frame.tobytes() for frame in played] == [frame.tobytes() for frame in frames]
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == len(frames)


def gif(
    *, screen: tuple[int, int] = (8, 8), frame: tuple[int, int] = (8, 8), count: int = 1, junk: bytes = b""
) -> bytes:
    """Frames of one byte of pixels each, which is damaged; their headers are sound."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x01\x00\x00"
    return head + junk + one * count + b";"


def test_a_frame_that_hangs_far_over_the_canvas_is_refused_by_its_header(attempt: Attempt) -> None:
    result = attempt(gif(frame=(60_000, 60_000)), width=4)
    assert isinstance(result, Refusal)
    assert (result.failure.code, result.failure.actual) == (FailureCode.TOO_MANY_PIXELS, 3_600_000_000)


def test_a_hundred_thousand_frames_are_refused_at_once(attempt: Attempt) -> None:
    data = gif(count=100_000)
    result, cost = trial.costing(lambda: attempt(data, width=4, format="webp"))
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.TOO_MANY_FRAMES
    assert cost < 20


def test_junk_between_blocks_is_skipped() -> None:
    assert len(read_gif(gif(junk=b"\0" * 1_000_000 + b"x", count=2), 99)) == 2


def test_a_frame_without_a_time_gets_the_one_that_browsers_give_it(attempt: Attempt) -> None:
    moving_gif = io.BytesIO()
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    red.save(moving_gif, "GIF", save_all=True, append_images=[blue], duration=[0, 50])
    result = attempt(moving_gif.getvalue(), width=8, format="webp")
    assert isinstance(result, RenderOutcome)
    with Image.open(result.files[0].path) as image:
        times = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            times.append(image.info["duration"])
    assert times == [100, 50]
