"""Animations, from every format to every format: each frame's picture and time, and the loop count."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode, WarningCode
from img_testing.samples import codes, encoded
from PIL import Image, ImageSequence

pytestmark = pytest.mark.python_independent

FORMATS = ("gif", "png", "webp", "avif")
SIDE, CELL = 64, 16
RED, GREEN, BLUE, BLACK = (255, 0, 0, 255), (0, 200, 0, 255), (0, 0, 255, 255), (0, 0, 0, 255)
NOTHING = (0, 0, 0, 0)
KEEP, CLEAR, RESTORE = 0, 1, 2

Colour = tuple[int, int, int, int]
Attempt = Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """What one frame changes: a rectangle in cells of the canvas."""

    cells: tuple[int, int, int, int]
    colour: Colour
    dispose: int = KEEP
    over: bool = True
    milliseconds: int = 100

    @property
    def box(self) -> tuple[int, int, int, int]:
        left, top, right, bottom = (CELL * side for side in self.cells)
        return left, top, right, bottom

    @property
    def image(self) -> Image.Image:
        left, top, right, bottom = self.box
        return Image.new("RGBA", (right - left, bottom - top), self.colour)


FULL = (0, 0, 4, 4)
SCENES = {
    "full frames": [Part(FULL, RED), Part(FULL, GREEN), Part(FULL, BLUE)],
    "parts that stay": [Part(FULL, RED), Part((1, 1, 2, 2), GREEN), Part((2, 2, 4, 4), BLUE)],
    "a square that moves over nothing": [
        Part(FULL, NOTHING, CLEAR),
        *(Part((x, 1, x + 1, 2), RED, CLEAR) for x in range(3)),
    ],
    "a black square that moves over nothing": [
        Part(FULL, NOTHING, CLEAR),
        *(Part((x, x, x + 1, x + 1), BLACK, CLEAR) for x in range(3)),
    ],
    "a part that is taken back": [Part(FULL, RED), Part((1, 1, 3, 3), GREEN, RESTORE), Part((3, 3, 4, 4), BLUE)],
    "a hole that is cleared": [Part(FULL, RED), Part((1, 1, 3, 3), GREEN, CLEAR), Part((3, 3, 4, 4), BLUE)],
    "a picture that becomes transparent": [Part(FULL, RED, CLEAR), Part((0, 0, 2, 4), GREEN, CLEAR)],
    "a black picture that becomes black in part": [Part((0, 0, 2, 4), BLACK, CLEAR), Part(FULL, BLACK)],
    "a first frame smaller than the canvas": [Part((1, 1, 2, 2), RED), Part((2, 2, 3, 3), GREEN)],
}


def composited(parts: list[Part]) -> list[Image.Image]:
    """What a viewer shows, by the rules of APNG, which has those of the others."""
    canvas, shown = Image.new("RGBA", (SIDE, SIDE)), []
    for part in parts:
        before = canvas.copy()
        if part.over:
            canvas.alpha_composite(part.image, part.box[:2])
        else:
            canvas.paste(part.image, part.box)
        shown.append(canvas.copy())
        if part.dispose == CLEAR:
            canvas.paste(NOTHING, part.box)
        elif part.dispose == RESTORE:
            canvas = before
    return shown


def gif(parts: list[Part], plays: int = 0, *, flagged: bool = True) -> bytes:
    """A GIF of exactly these patches, each with a transparent colour if flagged.

    Codes have eight bits and are cleared often: each pixel is its own byte.
    """
    colours = [NOTHING, *dict.fromkeys(part.colour for part in parts if part.colour != NOTHING)]
    table = b"".join(bytes(colour[:3]) for colour in colours).ljust(3 * 128, b"\1")
    data = [b"GIF89a", struct.pack("<HHBBB", SIDE, SIDE, 0xF6, 0, 0), table]
    if plays != 1:
        data.append(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", max(0, plays - 1), 0))
    for part in parts:
        left, top, right, bottom = part.box
        pixels = bytes([colours.index(part.colour)]) * ((right - left) * (bottom - top))
        codes = b"".join(b"\x80" + pixels[at : at + 100] for at in range(0, len(pixels), 100)) + b"\x81"
        blocks = (codes[at : at + 255] for at in range(0, len(codes), 255))
        flags = (part.dispose + 1) << 2 | (part.colour == NOTHING or flagged)
        data.append(b"!\xf9\x04" + struct.pack("<BHBB", flags, part.milliseconds // 10, 0, 0))
        data.append(struct.pack("<cHHHHBB", b",", left, top, right - left, bottom - top, 0, 7))
        data.append(b"".join(bytes([len(block)]) + block for block in blocks) + b"\0")
    return b"".join([*data, b";"])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(parts: list[Part], plays: int, in_front: Colour | None = None) -> bytes:
    """An animated PNG of exactly these patches; the first must fill the canvas, unless a still picture is in front."""
    data = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0))]
    data.append(chunk(b"acTL", struct.pack(">II", len(parts), plays)))
    number = itertools.count()
    if in_front is not None:
        data.append(chunk(b"IDAT", filtered(Part(FULL, in_front).image)))
    for place, part in enumerate(parts):
        left, top, right, bottom = part.box
        where = (next(number), right - left, bottom - top, left, top)
        data.append(chunk(b"fcTL", struct.pack(">5IHHBB", *where, part.milliseconds, 1000, part.dispose, part.over)))
        if place == 0 and in_front is None:
            data.append(chunk(b"IDAT", filtered(part.image)))
        else:
            data.append(chunk(b"fdAT", struct.pack(">I", next(number)) + filtered(part.image)))
    return b"".join([*data, chunk(b"IEND", b"")])


def filtered(image: Image.Image) -> bytes:
    rows, width = image.tobytes(), 4 * image.width
    return zlib.compress(b"".join(b"\0" + rows[at : at + width] for at in range(0, len(rows), width)))


def webp(parts: list[Part], plays: int) -> bytes:
    """An animated lossless WebP of exactly these patches."""
    side = (SIDE - 1).to_bytes(3, "little")
    chunks = [(b"VP8X", b"\x12\0\0\0" + side + side), (b"ANIM", struct.pack("<IH", 0, plays))]
    for part in parts:
        left, top, right, bottom = part.box
        sides = (left // 2, top // 2, right - left - 1, bottom - top - 1, part.milliseconds)
        still = encoded(part.image, "WEBP", lossless=True, exact=True)[12:]
        flags = bytes([part.dispose | (not part.over) << 1])
        chunks.append((b"ANMF", b"".join(side.to_bytes(3, "little") for side in sides) + flags + still))
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(kind: str, parts: list[Part], plays: int = 0) -> bytes:
    """The scene in that format, by its own means where it has them, else in full frames."""
    if kind == "gif":
        return gif(parts, plays)
    if kind == "png":
        return png(parts, plays, in_front=None if parts[0].cells == FULL else BLUE)
    if kind == "webp" and all(part.dispose != RESTORE for part in parts):
        return webp(parts, plays)
    times = [part.milliseconds for part in parts]
    options = {"quality": 90, "subsampling": "4:4:4"} if kind == "avif" else {"lossless": True, "loop": plays}
    return moving(composited(parts), kind, duration=times, **options)


def moving(frames: Iterable[Image.Image], kind: str, **options: Any) -> bytes:
    first, *others = frames
    return encoded(first, kind.upper(), save_all=True, append_images=others, **options)


def shown(data: bytes) -> tuple[list[Image.Image], list[float], Any]:
    """Frames in RGBA, their milliseconds, and the loop count as the file stores it."""
    with Image.open(io.BytesIO(data)) as image:
        frames, times = [], []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            times.append(frame.info.get("duration", 0))
            frames.append(frame.convert("RGBA"))
        return frames, times, image.info.get("loop")


def alike(found: Image.Image, expected: Image.Image, tolerance: int = 60) -> bool:
    """Whether the middles of all cells have the same colour, or are as invisible."""
    for x, y in itertools.product(range(4), range(4)):
        at, of = (
            image.getpixel(((2 * x + 1) * image.width // 8, (2 * y + 1) * image.height // 8))
            for image in (found, expected)
        )
        assert isinstance(at, tuple)
        assert isinstance(of, tuple)
        if abs(at[3] - of[3]) > 20 or (of[3] and max(abs(a - b) for a, b in zip(at, of, strict=True)) > tolerance):
            return False
    return True


def file_of(result: Any, number: int = 0) -> bytes:
    data: bytes = result.files[number].path.read_bytes()
    return data


def pictures(data: bytes, parts: list[Part]) -> list[bool]:
    """Whether each frame of a file shows what it should."""
    frames, _, _ = shown(data)
    return [alike(*pair) for pair in zip(frames, composited(parts), strict=True)]


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("scene", SCENES)
def test_every_frame_looks_as_in_a_viewer(scene: str, kind: str, output: str, attempt: Attempt) -> None:
    parts = SCENES[scene]
    result = attempt(animation(kind, parts), width=SIDE // 2, format=output)
    assert pictures(file_of(result), parts) == [True] * len(parts)
    assert result.files[0].frames == result.facts.frames == len(parts)
    # Scaling makes the edges between something and nothing translucent.
    assert codes(result) in ([], [WarningCode.ALPHA_FLATTENED] if output == "gif" else [])


@pytest.mark.parametrize("scene", SCENES)
def test_a_gif_without_a_transparent_colour_is_cleared_to_transparent_too(scene: str, attempt: Attempt) -> None:
    """As browsers do: none of them uses the background colour."""
    result = attempt(gif(SCENES[scene], flagged=False), width=SIDE // 2, format="png")
    assert pictures(file_of(result), SCENES[scene]) == [True] * len(SCENES[scene])


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_frame_keeps_its_time(kind: str, output: str, attempt: Attempt) -> None:
    wanted = [50, 120, 1000]
    parts = [Part(FULL, colour, milliseconds=time) for colour, time in zip((RED, GREEN, BLUE), wanted, strict=True)]
    _, times, _ = shown(file_of(attempt(animation(kind, parts), width=32, format=output)))
    assert times == wanted


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_hundredths_of_a_gif_add_up_to_the_same_total(kind: str, attempt: Attempt) -> None:
    wanted = [33, 34, 33, 47, 33, 44]
    parts = [Part(FULL, (40 * place, 0, 0, 255), milliseconds=time) for place, time in enumerate(wanted)]
    _, times, _ = shown(file_of(attempt(animation(kind, parts), width=32, format="gif")))
    ends = zip(itertools.accumulate(times), itertools.accumulate(wanted), strict=True)
    assert all(abs(found - expected) <= 5 for found, expected in ends), times


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize(("kind", "milliseconds"), [("gif", 655_350), ("webp", 70_001), ("webp", 2**24 - 1)])
def test_a_frame_that_is_shown_for_very_long_is_made(
    kind: str, milliseconds: int, output: str, attempt: Attempt
) -> None:
    parts = [Part(FULL, RED, milliseconds=milliseconds), Part(FULL, GREEN)]
    _, times, _ = shown(file_of(attempt(animation(kind, parts), width=32, format=output)))
    assert times[0] == pytest.approx(min(milliseconds, 655_350) if output == "gif" else milliseconds, rel=0.001)


@pytest.mark.parametrize("output", FORMATS)
def test_frames_that_look_the_same_may_be_longer_together_than_one_can_be(output: str, attempt: Attempt) -> None:
    parts = [Part(FULL, colour, milliseconds=500_000) for colour in (RED, RED, GREEN)]
    _, times, _ = shown(file_of(attempt(gif(parts), width=32, format=output)))
    assert sum(times) == (655_350 + 500_000 if output == "gif" else 1_500_000)


def test_what_is_cleared_is_transparent_also_where_no_pixel_can_be(attempt: Attempt) -> None:
    """A canvas has alpha, whatever the frames of an animated PNG have (PNG 3, section 12.1)."""
    parts = [Part(FULL, RED, CLEAR, over=False), Part((1, 1, 2, 2), GREEN, over=False)]
    data = png(parts, 0)
    for part in parts:  # the same in RGB
        rows = b"".join(b"\0" + bytes(part.colour[:3]) * part.image.width for _ in range(part.image.height))
        old, new = filtered(part.image), zlib.compress(rows)
        for kind, front in ((b"IDAT", b""), (b"fdAT", struct.pack(">I", 2))):
            data = data.replace(chunk(kind, front + old), chunk(kind, front + new))
    header = struct.pack(">IIBB", SIDE, SIDE, 8, 6) + bytes(3)
    data = data.replace(chunk(b"IHDR", header), chunk(b"IHDR", header[:9] + b"\2" + bytes(3)))
    assert pictures(file_of(attempt(data, width=32)), parts) == [True, True]


@pytest.mark.parametrize("output", ["gif", "png", "webp"])
@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
@pytest.mark.parametrize("plays", [0, 1, 2, 7])
def test_it_is_played_as_often(plays: int, kind: str, output: str, attempt: Attempt) -> None:
    """A GIF stores how often it is repeated, nothing if it is played once; the others how often it is played."""
    _, _, loop = shown(file_of(attempt(animation(kind, SCENES["full frames"], plays), width=32, format=output)))
    assert loop == (plays if output != "gif" or not plays else plays - 1 or None)


@pytest.mark.parametrize(("kind", "plays"), [("gif", 65_536), ("png", 2**31), ("webp", 65_535)])
@pytest.mark.parametrize("output", FORMATS)
def test_a_loop_count_beyond_the_format_becomes_its_largest(
    kind: str, plays: int, output: str, attempt: Attempt
) -> None:
    result = attempt(animation(kind, SCENES["full frames"], plays), width=32, format=output)
    _, _, loop = shown(file_of(result))
    assert output == "avif" or loop == 0 or loop >= min(plays, 65_535) - 1


@pytest.mark.parametrize("output", ["jpeg", "tiff"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_that_cannot_move_gets_the_first_frame_and_says_so(kind: str, output: str, attempt: Attempt) -> None:
    result = attempt(animation(kind, SCENES["full frames"]), width=32, format=output)
    assert pictures(file_of(result), SCENES["full frames"][:1]) == [True]
    assert codes(result) == [WarningCode.FRAMES_DROPPED]


@pytest.mark.parametrize("output", ["png", "jpeg"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_picture_in_front_of_an_animation_is_no_frame_of_it(frames: int, output: str, attempt: Attempt) -> None:
    parts = SCENES["full frames"][:frames]
    result = attempt(png(parts, 0, in_front=BLACK), width=32, format=output)
    assert result.facts.frames == frames
    wanted = parts if output == "png" else parts[:1]
    assert pictures(file_of(result), wanted) == [True] * len(wanted)


@pytest.mark.parametrize("output", [*FORMATS, "jpeg"])
@pytest.mark.parametrize("kind", ["gif", "png", "avif"])
def test_what_is_damaged_ends_before_the_damage_and_says_so(kind: str, output: str, attempt: Attempt) -> None:
    data = moving([Image.effect_noise((SIDE, SIDE), 90).convert("RGB") for _ in range(4)], kind, duration=100)
    good = len(data) * 7 // 10
    rest = len(data) - good if kind == "avif" else 0  # one that breaks off cannot be opened at all, as a WebP
    result = attempt(data[:good] + bytes(rest), width=32, format=output)
    assert 1 <= result.files[0].frames <= (1 if output == "jpeg" else 3)
    assert len(shown(file_of(result))[0]) == result.files[0].frames
    assert WarningCode.FRAMES_DROPPED in codes(result)


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_single_pixel_can_move(kind: str, output: str, attempt: Attempt) -> None:
    frames = [Image.new("RGB", (1, 1), colour[:3]) for colour in (RED, GREEN, BLUE)]
    result = attempt(moving(frames, kind, duration=100), width=1, format=output)
    found, times, _ = shown(file_of(result))
    assert [frame.size for frame in found] == [(1, 1)] * 3
    assert times == [100] * 3


@pytest.mark.parametrize("output", FORMATS)
def test_frames_that_look_the_same_are_counted_as_the_file_has_them(output: str, attempt: Attempt) -> None:
    parts = [Part(FULL, RED), Part(FULL, RED), Part(FULL, GREEN)]
    result = attempt(animation("gif", parts), width=32, format=output)
    frames, times, _ = shown(file_of(result))
    assert result.files[0].frames == len(frames)
    assert sum(times) == 300


@pytest.mark.parametrize(
    ("limit", "code", "actual"),
    [
        ({"animation_pixels": 3 * SIDE * SIDE - 1}, FailureCode.TOO_MANY_PIXELS, 3 * SIDE * SIDE),
        ({"frames": 2}, FailureCode.TOO_MANY_FRAMES, 3),
        ({"memory": 2**28}, FailureCode.TOO_MUCH_MEMORY, None),
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_too_much_of_it_is_refused(
    kind: str, limit: dict[str, int], code: FailureCode, actual: int | None, attempt: Attempt
) -> None:
    failure = attempt(animation(kind, SCENES["full frames"]), width=32, limits=limit).failure
    assert failure.code is code
    assert failure.limit == next(iter(limit.values()))
    assert actual is None or failure.actual == actual


def test_an_animation_of_which_one_frame_is_wanted_need_not_fit_as_a_whole(attempt: Attempt) -> None:
    limits = {"animation_pixels": SIDE * SIDE}
    assert attempt(animation("gif", SCENES["full frames"]), width=32, format="jpeg", limits=limits).files


def test_all_frames_of_a_result_are_counted_as_memory(attempt: Attempt) -> None:
    parts = [Part(FULL, RED), Part(FULL, GREEN)] * 8
    few, many = (attempt(gif(parts[:count]), width=SIDE, limits={"memory": 2**28}).failure.actual for count in (2, 16))
    assert many - few >= 14 * 4 * SIDE * SIDE
