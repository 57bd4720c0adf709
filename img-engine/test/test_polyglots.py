"""Only the picture of a file gets into a result: neither what follows its end nor its comments."""

from __future__ import annotations

import io
from collections.abc import Callable

import pillow_heif
import pytest
from img_engine.render.task import Refusal, RenderOutcome
from img_testing.bombs import chunk, gif, jpeg, png, segment, webp_with
from img_testing.samples import encoded, four_corners
from PIL import Image, PngImagePlugin

pytestmark = pytest.mark.python_independent

MARK = b"<script>alert('POLYGLOT')</script>PK\x03\x04"
TEXT = MARK.decode("latin-1")

OUTPUTS = ["jpeg", "png", "webp", "gif", "avif", "tiff"]


def with_exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010E] = TEXT  # ImageDescription
    return made


def heic() -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(four_corners()).save(buffer, quality=80, exif=with_exif().tobytes(), xmp=MARK)
    return buffer.getvalue()


def png_that_tells() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", TEXT)
    info.add_text("Packed", TEXT, zip=True)
    info.add_itxt("XML:com.adobe.xmp", TEXT)
    return encoded(four_corners(), "PNG", pnginfo=info, exif=with_exif())


def gif_that_tells() -> bytes:
    comment = b"!\xfe" + bytes((len(MARK),)) + MARK + b"\0"
    application = b"!\xff\x0bXMP DataXMP" + bytes((len(MARK),)) + MARK + b"\0"
    return gif((64, 32), 2, frame=(1, 1), front=comment + application)


def tiff_that_tells() -> bytes:
    return encoded(four_corners(), "TIFF", tiffinfo={270: TEXT, 305: TEXT, 700: MARK, 33432: TEXT})


TELLING = {
    "jpeg": lambda: jpeg(
        front=segment(0xFE, MARK) + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + MARK) + segment(0xEB, MARK),
        exif=with_exif(),
    ),
    "png": png_that_tells,
    "png behind its pixels": lambda: png(after=chunk(b"tEXt", b"k\0" + MARK) + chunk(b"prVt", MARK)),
    "gif": gif_that_tells,
    "webp": lambda: encoded(four_corners(), "WEBP", exif=with_exif(), xmp=MARK),
    "webp with a chunk of its own": lambda: webp_with(0, b"ownC", MARK),
    "tiff": tiff_that_tells,
    "avif": lambda: encoded(four_corners(), "AVIF", exif=with_exif(), xmp=MARK),
    "heic": heic,
    "bmp": lambda: encoded(four_corners(), "BMP"),
    "ico": lambda: encoded(four_corners(), "ICO"),
}

Attempt = Callable[..., RenderOutcome | Refusal]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", TELLING)
def test_nothing_but_the_picture_gets_into_a_result(kind: str, output: str, attempt: Attempt) -> None:
    data = TELLING[kind]() + MARK * 3
    assert data.count(MARK) >= 3
    result = attempt(data, width=32, format=output, metadata="strip")
    assert isinstance(result, RenderOutcome), result
    written = result.files[0].path.read_bytes()
    assert b"POLYGLOT" not in written
    assert b"script" not in written
