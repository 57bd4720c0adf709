"""A TIFF means what its tags say: every kind of sample comes back within one of 255."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode, WarningCode
from img_contract.job.resize import Resize
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from img_testing.bombs import LONG, SHORT, grey_tags, tiff, with_tags
from img_testing.samples import codes, encoded, photo
from PIL import ExifTags, Image

pytestmark = pytest.mark.python_independent

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)
CASES = Path(__file__).parents[3] / "shared" / "cases"
"""Beside the clone where CI runs, and perhaps not here."""

UNASSALPHA, ASSOCALPHA = "unassalpha", "assocalpha"


def decoded(data: bytes, folder: Path) -> Any:
    """The picture that comes of it, as it is stored: rows × columns × channels."""
    source = folder / "source"
    source.write_bytes(data)
    task = Task(source, Format.TIFF, Resize(width="100%", format=Format.PNG), folder / "result", LIMITS)
    result = render(task)
    assert isinstance(result, RenderOutcome), result
    with Image.open(result.files[0].path) as image:
        found = np.asarray(image)
    return found if found.ndim == 3 else found[..., None]


def written(samples: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def as_seen(samples: Any, kind: str, *, alpha: str | None) -> Any:
    """What viewers show, 0 to 255, by TIFF 6.0."""
    info = np.iinfo(samples.dtype) if samples.dtype.kind in "iu" else None
    white = float(info.max) if info else 1.0
    found = samples.astype(np.float64) / white
    colours, behind = (found[..., :-1], found[..., -1:]) if alpha else (found, found[..., :0])
    lowest, highest = colours.min(), colours.max()
    if lowest < 0 or (info is None and highest > 1):  # the picture's own range
        colours = (colours - lowest) / max(highest - lowest, 1e-300)
    if kind == "miniswhite":
        colours = 1 - colours
    if alpha == ASSOCALPHA:
        colours = np.divide(colours, behind, out=np.zeros_like(colours), where=behind > 0)
    return np.concatenate((colours, behind), axis=-1).clip(0, 1) * 255


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Samples, and how they are written."""
    kind, colours = draw(st.sampled_from([("minisblack", 1), ("miniswhite", 1), ("rgb", 3)]))
    dtype = draw(st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]))
    alpha = draw(st.sampled_from([None, UNASSALPHA, ASSOCALPHA])) if dtype[0] != "i" else None
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(2, 40)))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = height, width, colours + (alpha is not None)
    if dtype[0] == "f":
        samples = chance.random(shape) * draw(st.sampled_from([1.0, 1.0, 300.0] if alpha is None else [1.0]))
    else:
        info = np.iinfo(dtype)
        samples = chance.integers(draw(st.sampled_from([0, info.min])), info.max, shape, np.dtype(dtype), endpoint=True)
    if alpha == ASSOCALPHA:  # a colour is never more than its alpha
        samples[..., :-1] = np.minimum(samples[..., :-1], samples[..., -1:])
    compression = draw(st.sampled_from([None, "zlib", "lzma"]))
    options: dict[str, Any] = {
        "photometric": kind,
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": draw(st.booleans()),
        "compression": compression,
        "extrasamples": [alpha] if alpha else None,
        "predictor": compression is not None and dtype[0] != "f" and draw(st.booleans()),
    }
    if shape[2] > 1:
        options["planarconfig"] = draw(st.sampled_from(["contig", "separate"]))
    if draw(st.booleans()):
        options["tile"] = (16, 32)
    elif draw(st.booleans()):
        options["rowsperstrip"] = draw(st.integers(1, height))
    return samples.astype(dtype), options


@given(pictures())
@examples(max_examples=200, deadline=None)
def test_samples_of_every_kind_come_back(
    tmp_path_factory: pytest.TempPathFactory, picture: tuple[Any, dict[str, Any]]
) -> None:
    samples, options = picture
    alpha = options["extrasamples"][0] if options["extrasamples"] else None
    stored = samples[..., 0] if samples.shape[2] == 1 else samples
    stored = np.moveaxis(stored, -1, 0) if options.get("planarconfig") == "separate" else stored
    found = decoded(written(stored, **options), tmp_path_factory.mktemp("tiff", numbered=True)).astype(float)
    expected = as_seen(samples, options["photometric"], alpha=alpha)
    if expected.shape[2] == 2:  # grey with alpha becomes RGBA
        expected = np.concatenate((np.repeat(expected[..., :1], 3, axis=2), expected[..., 1:]), axis=2)
    if alpha and found.shape[2] != expected.shape[2]:  # all of it happened to be opaque
        expected = expected[..., :-1]
    assert found.shape == expected.shape
    visible = expected[..., -1:] > 0 if alpha else np.full_like(found, fill_value=True, dtype=bool)
    assert np.abs(np.where(visible, found - expected, 0)).max() <= 1.01


@given(st.integers(1, 32), st.integers(1, 60), st.integers(1, 9), st.sampled_from([0, 1]), st.integers(0, 2**32))
@examples(max_examples=150, deadline=None)
def test_samples_of_any_number_of_bits_come_back(
    tmp_path_factory: pytest.TempPathFactory, bits: int, width: int, height: int, photometric: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(0, 1 << bits, (height, width), np.uint64)
    places = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    rows = np.packbits((samples[..., None] >> places & np.uint64(1)).astype(np.uint8).reshape(height, -1), axis=1)
    whole = rows if bits not in (16, 32) else samples.astype(f"<u{bits // 8}")
    tags = with_tags(
        grey_tags(width, height, offset=200, length=whole.nbytes),
        (258, SHORT, 1, bits),
        (262, SHORT, 1, photometric),
    )
    data = tiff(tags).ljust(200, b"\0") + whole.tobytes()
    found = decoded(data, tmp_path_factory.mktemp("tiff", numbered=True))[..., 0].astype(float)
    expected = samples.astype(float) * 255 / ((1 << bits) - 1)
    assert np.abs(found - (255 - expected if photometric == 0 else expected)).max() <= 1


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_the_values_of_black_and_white_may_be_said(byte_order: str, dtype: str, tmp_path: Path) -> None:
    samples = np.linspace(0, 1000, 64).astype(dtype)[None, :]
    kind = 11 if dtype == "f4" else 8
    tags = [(340, kind, 1, 200, False), (341, kind, 1, 600, False)]
    data = written(samples, photometric="minisblack", byteorder=byte_order, extratags=tags)
    expected = ((samples.astype(float) - 200) / 400).clip(0, 1) * 255
    assert np.abs(decoded(data, tmp_path)[..., 0] - expected).max() <= 1


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    samples = np.array([[0.0, np.nan, 1.0, np.inf, -np.inf]], np.float32)
    found = decoded(written(samples, photometric="minisblack"), tmp_path)
    assert found[..., 0].tolist() == [[0, 0, 255, 255, 0]]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_lab_is_converted(dtype: str, planar: str, tmp_path: Path) -> None:
    """White, mid grey, and sRGB's red, green and blue in L*a*b* by D50 (Lindbloom)."""
    lab = np.array(
        [[(100, 0, 0), (53.585, 0, 0), (54.29, 80.81, 69.89), (87.82, -79.29, 80.99), (29.57, 68.30, -112.03)]]
    )
    scale, bits = (255 / 100, 8) if dtype == "u1" else (65535 / 100, 16)
    lightness = np.round(lab[..., :1] * scale)
    around = np.round(lab[..., 1:] * (1 << (bits - 8))).astype(np.int64) & ((1 << bits) - 1)
    samples = np.concatenate((lightness, around), axis=-1).astype(dtype)
    samples = np.moveaxis(samples, -1, 0) if planar == "separate" else samples
    found = decoded(written(samples, photometric="cielab", planarconfig=planar), tmp_path).astype(int)
    expected = np.array([(255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert np.abs(found[0] - expected).max() <= (
        12 if dtype == "u1" else 1
    )  # 8 bits of L*a*b* are coarse where it is dark


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_cmyk_in_planes_is_read(byte_order: str, tmp_path: Path) -> None:
    inks = np.random.default_rng(1).integers(0, 65536, (4, 20, 30), np.uint16)
    found = decoded(written(inks, photometric="separated", planarconfig="separate", byteorder=byte_order), tmp_path)
    eight = np.moveaxis((inks / 257).round().astype(np.uint8), 0, -1)
    assert np.abs(found.astype(int) - np.asarray(Image.fromarray(eight, "CMYK").convert("RGB")).astype(int)).max() <= 1


@pytest.mark.parametrize("compression", [5, 32_773])
@pytest.mark.parametrize("bits", [12, 16])
def test_libtiff_unpacks_whatever_the_bytes_mean(compression: int, bits: int, tmp_path: Path) -> None:
    """LZW and PackBits, as libtiff writes them of bytes."""
    row = np.arange(256, dtype=np.uint16) * (16 if bits == 12 else 257)
    bytes_of = row.astype("<u2").tobytes() if bits == 16 else packed_by_twelve(row)
    plain = Image.frombytes("L", (len(bytes_of), 4), bytes_of * 4)
    name = "tiff_lzw" if compression == 5 else "packbits"
    whole = encoded(plain, "TIFF", compression=name)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        segment = whole[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]
    tags = with_tags(
        grey_tags(256, 4, offset=200, length=len(segment)), (258, SHORT, 1, bits), (259, SHORT, 1, compression)
    )
    found = decoded(tiff(tags).ljust(200, b"\0") + segment, tmp_path)
    assert np.abs(found[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def packed_by_twelve(row: Any) -> bytes:
    bits = (row[:, None] >> np.arange(11, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()


def test_differences_of_floating_point_are_undone(tmp_path: Path) -> None:
    """Predictor 3, as libtiff writes it."""
    samples = np.random.default_rng(4).random((20, 30), np.float32)
    data = encoded(Image.fromarray(samples), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 3})
    assert np.abs(decoded(data, tmp_path)[..., 0] - samples * 255).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_in_a_tiff_is_read(mode: str, tmp_path: Path) -> None:
    """In two strips."""
    image = photo((40, 30)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize((40, 30)))
    strips = [
        encoded(image.crop((0, top, 40, min(30, top + 16))), "WEBP", lossless=True, exact=True) for top in (0, 16)
    ]
    at = 300
    lists = np.array([at, at + len(strips[0]), *(len(strip) for strip in strips)], "<u4").tobytes()
    channels = len(mode)
    tags = with_tags(
        grey_tags(40, 30),
        (258, SHORT, channels, 280),
        (259, SHORT, 1, 50_001),
        (262, SHORT, 1, 2),
        (273, LONG, 2, 240),
        (277, SHORT, 1, channels),
        (278, LONG, 1, 16),
        (279, LONG, 2, 248),
        *([(338, SHORT, 1, 2)] if mode == "RGBA" else []),
    )
    data = (tiff(tags).ljust(240, b"\0") + lists).ljust(280, b"\0") + b"\x08\0" * channels
    found = decoded(data.ljust(at, b"\0") + b"".join(strips), tmp_path)
    assert np.array_equal(found, np.asarray(image))


def test_a_large_palette_is_read(tmp_path: Path) -> None:
    table = np.random.default_rng(2).integers(0, 65536, (3, 65536), np.uint16)
    samples = np.random.default_rng(3).integers(0, 65536, (10, 12), np.uint16)
    data = written(samples, photometric="palette", colormap=table)
    assert np.array_equal(decoded(data, tmp_path), (table.T >> 8)[samples])


def test_it_is_turned_and_its_metadata_are_read(tmp_path: Path) -> None:
    samples = np.arange(6, dtype=np.float32).reshape(2, 3) / 5
    data = written(samples, photometric="minisblack", extratags=[(274, 3, 1, 6, True)])
    assert np.abs(decoded(data, tmp_path)[..., 0] - np.rot90(samples, -1) * 255).max() <= 1


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        (((259, SHORT, 1, 50_002),), "compression 50002 (JPEG XL)"),
        (((339, SHORT, 1, 6),), "samples of 8 bits in format 6"),
        (((258, SHORT, 1, 40),), "samples of 40 bits in format 1"),
        (((258, SHORT, 1, 16), (317, SHORT, 1, 3)), "predictor 3 for samples of 16 bits"),
        (((258, SHORT, 1, 16), (277, SHORT, 1, 60)), "60 samples a pixel"),
    ],
)
def test_what_cannot_be_read_is_named(tags: tuple[tuple[int, int, int, int], ...], what: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(tiff(with_tags(grey_tags(8, 8), *tags), behind=bytes(1000)))
    result = render(Task(source, Format.TIFF, Resize(width=8), tmp_path / "result", LIMITS))
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_UNSUPPORTED
    assert result.failure.detail == f"a TIFF with {what} cannot be read"


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are beside the clone where CI runs")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiff-12bit-gray.tif", "expected-gray-256.png"),
        ("tiff-16bit-gray-min-is-white.tif", "expected-gray.png"),
        ("tiff-16bit-planar-rgb-uncompressed.tif", "expected-rgb.png"),
    ],
)
def test_the_public_reports_are_closed(name: str, expected: str, tmp_path: Path) -> None:
    found = decoded((CASES / name).read_bytes(), tmp_path).astype(int)
    with Image.open(CASES / expected) as image:
        wanted = np.asarray(image.convert("L" if found.shape[2] == 1 else "RGB")).astype(int).reshape(found.shape)
    assert np.abs(found - wanted).max() <= 1


def packed(numbers: Any, bits: int) -> bytes:
    """Rows of numbers of so many bits, the highest first."""
    apart = numbers[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(apart.astype(np.uint8).reshape(len(numbers), -1), axis=1).tobytes()


def test_strips_without_their_counts_are_read(tmp_path: Path) -> None:
    numbers = np.arange(20 * 10).reshape(10, 20) * 20
    tags = [tag for tag in with_tags(grey_tags(20, 10, offset=200, length=0), (258, SHORT, 1, 12)) if tag[0] != 279]
    data = tiff(tags).ljust(200, b"\0") + packed(numbers, 12)
    assert np.abs(decoded(data, tmp_path)[..., 0] - numbers / 4095 * 255).max() <= 1


def test_what_pillow_would_take_for_other_samples_is_corrupt(tmp_path: Path) -> None:
    """The strips of 12 bits are missing; Pillow would read what is there as something else."""
    tags = with_tags(grey_tags(20, 10, offset=200, length=300), (258, SHORT, 1, 12), (278, SHORT, 1, 5))
    (tmp_path / "source").write_bytes(tiff(tags).ljust(200, b"\0") + bytes(300))
    result = render(Task(tmp_path / "source", Format.TIFF, Resize(width=9), tmp_path / "result", LIMITS))
    assert isinstance(result, Refusal)
    assert result.failure.code is FailureCode.PICTURE_CORRUPT


@pytest.mark.parametrize("extra", [("unspecified", "unassalpha"), ("unassalpha", "unspecified")])
def test_alpha_is_found_among_extra_samples(extra: tuple[str, ...], tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (9, 7, 5), np.uint8)
    found = decoded(written(samples, photometric="rgb", extrasamples=extra), tmp_path)
    assert (found == samples[..., [0, 1, 2, 3 + extra.index("unassalpha")]]).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("big", "order"), [(False, "<"), (False, ">"), (True, "<")])
def test_tags_are_kept_whoever_reads_the_samples(big: bool, order: str, bits: int, tmp_path: Path) -> None:
    """16 bits are read here. EXIF in a JPEG is no BigTIFF."""
    samples = np.zeros((8, 8), f"{order}u{bits // 8}")
    data = written(
        samples, photometric="miniswhite", byteorder=order, bigtiff=big, software="some program", resolution=(300, 300)
    )
    (tmp_path / "source").write_bytes(data)
    options = Resize.model_validate({"width": 4, "format": "jpeg", "metadata": "keep"})
    result = render(Task(tmp_path / "source", Format.TIFF, options, tmp_path / "result", LIMITS))
    assert isinstance(result, RenderOutcome)
    with Image.open(result.files[0].path) as image:
        assert image.getexif()[ExifTags.Base.Software] == "some program"
        assert image.getexif()[ExifTags.Base.XResolution] == 300


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_beside_cmyk_is_named(dtype: Any, tmp_path: Path) -> None:
    samples = np.zeros((8, 8, 5), dtype)
    for extra, warnings in (("unassalpha", [WarningCode.ALPHA_FLATTENED]), ("unspecified", [])):
        (tmp_path / "source").write_bytes(written(samples, photometric="separated", extrasamples=[extra]))
        task = Task(tmp_path / "source", Format.TIFF, Resize(width=4), tmp_path / "result", LIMITS)
        assert codes(render(task)) == warnings
