"""PNGs with damage that the picture itself can do without, and what older programs left in texts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_contract.job.outcome import FailureCode, WarningCode
from img_engine.render.task import Refusal, RenderOutcome
from img_testing.bombs import chunk, png
from img_testing.samples import all_near, codes, corners, encoded, four_corners, lying
from PIL import ExifTags, Image, ImageCms

pytestmark = pytest.mark.python_independent

Rendered = Callable[..., tuple[Image.Image, RenderOutcome]]
CASES = Path(__file__).parents[3] / "shared" / "cases"

UPRIGHT = four_corners((40, 20))
TEXT = b"Comment\0said by somebody"


def with_chunk(data: bytes, one: bytes, *, before: bytes = b"IDAT") -> bytes:
    at = data.index(before) - 4
    return data[:at] + one + data[at:]


def damaged(one: bytes) -> bytes:
    """The same chunk with another checksum."""
    return one[:-4] + bytes(byte ^ 0xFF for byte in one[-4:])


def chunks_damaged(data: bytes, kind: bytes) -> bytes:
    """The same file, the checksum of the first chunk of a kind being wrong."""
    at = data.index(kind)
    end = at + 8 + int.from_bytes(data[at - 4 : at], "big")
    return data[: end - 4] + bytes(byte ^ 0xFF for byte in data[end - 4 : end]) + data[end:]


@pytest.mark.parametrize("mode", ["RGB", "P", "1"])
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    "one",
    [
        chunk(b"tEXt", TEXT),
        chunk(b"pHYs", bytes(9)),
        chunk(b"prVt", b"own"),
        chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x")),
    ],
)
def test_a_checksum_that_nobody_needs_may_be_wrong(mode: str, before: bytes, one: bytes, rendered: Rendered) -> None:
    data = with_chunk(encoded(UPRIGHT.convert(mode), "PNG"), damaged(one), before=before)
    image, result = rendered(data, width=40, format="png")
    assert image.convert("RGB").tobytes() == UPRIGHT.convert(mode).convert("RGB").tobytes()
    assert result.warnings == ()


def test_a_damaged_profile_is_left_out_with_a_warning(rendered: Rendered) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _, result = rendered(chunks_damaged(encoded(UPRIGHT, "PNG", icc_profile=profile), b"iCCP"), width=20)
    assert codes(result) == [WarningCode.PROFILE_UNUSABLE]


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_checksum_of_the_picture_must_be_right(kind: bytes, attempt: Callable[..., RenderOutcome | Refusal]) -> None:
    data = encoded(UPRIGHT.quantize(4), "PNG", transparency=1)
    result = attempt(chunks_damaged(data, kind), width=20)
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_UNSUPPORTED


def moving() -> bytes:
    frames = [UPRIGHT.rotate(180), UPRIGHT.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return encoded(UPRIGHT, "PNG", save_all=True, append_images=frames, duration=50)


def without(data: bytes, kind: bytes, count: int = 1) -> bytes:
    for _ in range(count):
        at = data.rindex(kind) - 4
        data = data[:at] + data[at + 12 + int.from_bytes(data[at : at + 4], "big") :]
    return data


def rewritten(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The first chunk of a kind with other content."""
    at = data.index(kind) - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    return data[:at] + chunk(kind, change(data[at + 8 : end - 4])) + data[end:]


BROKEN: dict[str, Callable[[], bytes]] = {
    "checksum of acTL": lambda: chunks_damaged(moving(), b"acTL"),
    "checksum of fcTL": lambda: chunks_damaged(moving(), b"fcTL"),
    "acTL too short": lambda: rewritten(moving(), b"acTL", lambda content: content[:4]),
    "fcTL too short": lambda: rewritten(moving(), b"fcTL", lambda content: content[:20]),
    "fcTL out of order": lambda: rewritten(moving(), b"fcTL", lambda content: b"\0\0\0\7" + content[4:]),
    "fcTL beside the canvas": lambda: rewritten(
        moving(), b"fcTL", lambda content: content[:12] + b"\0\0\1\0" + content[16:]
    ),
    "fdAT too short": lambda: rewritten(moving(), b"fdAT", lambda _: b"\0"),
    "no fdAT": lambda: without(moving(), b"fdAT", 2),
}


@pytest.mark.parametrize("output", ["png", "jpeg"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_animation_gives_its_still_picture(name: str, output: str, rendered: Rendered) -> None:
    image, result = rendered(BROKEN[name](), width=40, format=output)
    assert result.files[0].frames == 1
    assert all_near(corners(image), corners(UPRIGHT))
    assert WarningCode.FRAMES_DROPPED in codes(result)


def raw_profile(data: bytes, name: str, kind: bytes) -> bytes:
    """EXIF in a text, as ImageMagick wrote it."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{name}\n{len(data):8d}\n{lines}\n".encode()
    keyword = f"Raw profile type {name}".encode() + b"\0"
    match kind:
        case b"tEXt":
            return chunk(kind, keyword + text)
        case b"zTXt":
            return chunk(kind, keyword + b"\0" + zlib.compress(text))
        case _:
            return chunk(kind, keyword + b"\1\0\0\0" + zlib.compress(text))


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("name", ["exif", "APP1"])
@pytest.mark.parametrize("metadata", ["copyright", "keep"])
def test_exif_in_a_text_counts(name: str, kind: bytes, before: bytes, metadata: str, rendered: Rendered) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "somebody"
    stored = lying(UPRIGHT, 6, "PNG")
    plain = without(stored, b"eXIf")
    profile = raw_profile(exif.tobytes(), name, kind)
    image, result = rendered(with_chunk(plain, profile, before=before), width=40, metadata=metadata)
    assert result.facts.orientation == 6
    assert all_near(corners(image), corners(UPRIGHT))
    kept = image.getexif()
    assert kept[ExifTags.Base.Copyright] == "somebody"
    assert ExifTags.Base.Orientation not in kept


@pytest.mark.parametrize(
    "text", [b"", b"\nexif\n", b"\nexif\n 4\nzz", b"\nexif\n99999999999\n4949", b"\nexif\n -4\n49492a00"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_text_says_nothing(text: bytes, packed: bool, rendered: Rendered) -> None:
    keyword = b"Raw profile type exif\0"
    one = chunk(b"zTXt", keyword + b"\0" + text) if packed else chunk(b"tEXt", keyword + text)
    _, result = rendered(png(before=one), width=20)
    assert result.facts.orientation == 1


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
def test_the_public_reports_are_closed(rendered: Rendered) -> None:
    name = "png-orientation6-and-copyright-in-zTXt-raw-profile.png"
    options: dict[str, Any] = {"width": "100%", "metadata": "copyright"}
    image, _ = rendered((CASES / name).read_bytes(), **options)
    assert image.size == (192, 256)
    assert ExifTags.Base.Copyright in image.getexif()
    image, _ = rendered((CASES / "png-bad-crc-in-tEXt.png").read_bytes(), width="100%")
    with Image.open(CASES / "expected-colours.png") as expected:
        assert image.tobytes() == expected.convert("RGB").tobytes()
