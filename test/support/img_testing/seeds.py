"""Small pictures of every format and of many kinds: what mutations start from."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from PIL import ExifTags, Image, ImageCms

from img_testing.bombs import (
    SHORT,
    bmp_of_runs,
    chunk,
    grey_tags,
    heif,
    icon,
    indexed_bmp,
    masked_bmp,
    segment,
    tiff,
    tiff_of_pages,
    with_tags,
)
from img_testing.heif_boxes import box, with_property
from img_testing.samples import encoded, four_corners

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
"""Beside the clone where CI runs, and perhaps not here."""

_FROM_CORPUS = 150
_MOST_BYTES = 40_000


def seeds() -> dict[Format, list[bytes]]:
    """By format, always in the same order."""
    found: dict[Format, list[bytes]] = {kind: [] for kind in Format}
    for data in (*_made(), *_from_corpus()):
        kind = sniff(data[:SIGNATURE_BYTES])
        if kind is not None:
            found[kind].append(data)
    return found


def _made() -> list[bytes]:
    rgb = four_corners((48, 40))
    noise = Image.effect_noise((48, 40), 90)
    rgba = Image.merge("RGBA", (*rgb.split(), noise))
    about = Image.Exif()
    about[ExifTags.Base.Orientation] = 6
    about.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [rgba, rgba.rotate(90), rgba.rotate(180)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 50}
    return [
        encoded(rgb, "JPEG", exif=about, icc_profile=profile),
        encoded(rgb, "JPEG", progressive=True, comment=b"made"),
        described(encoded(rgb, "JPEG")),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(noise, "JPEG", restart_marker_blocks=1),
        encoded(rgb, "PNG", exif=about, icc_profile=profile),
        encoded(rgba, "PNG"),
        coloured(encoded(rgb, "PNG")),
        encoded(rgb.quantize(16), "PNG", transparency=3),
        encoded(noise.convert("I;16"), "PNG"),
        encoded(rgba, "PNG", **moving),
        encoded(rgb.quantize(16), "GIF"),
        encoded(rgba, "GIF", **moving, disposal=[1, 2, 3], transparency=0),
        encoded(rgb, "WEBP", exif=about, icc_profile=profile),
        encoded(rgba, "WEBP", lossless=True),
        encoded(rgba, "WEBP", **moving),
        encoded(rgb, "AVIF", exif=about),
        encoded(rgba, "AVIF", **moving),
        with_property(encoded(rgb, "AVIF"), box(b"clap", struct.pack(">IIIIiIiI", 20, 1, 30, 1, 3, 1, 0, 1))),
        with_property(heif(), box(b"pasp", struct.pack(">II", 2, 1))),
        heif(),
        *(encoded(rgb, "TIFF", compression=packing) for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        encoded(noise.convert("1"), "TIFF", compression="group4"),
        encoded(rgb, "TIFF", big_tiff=True, exif=about),
        tiff_of_pages(4),
        *deep_tiffs(),
        encoded(rgb, "BMP"),
        encoded(rgb.quantize(16), "BMP"),
        bmp_of_runs(b"\x30\1\0\0" * 40 + b"\0\1", (48, 40)),
        masked_bmp(np.arange(48 * 40, dtype=np.uint64).reshape(40, 48) * 34, 16, (0xF00, 0xF0, 0xF, 0xF000)),
        indexed_bmp(2, 0, bytes(range(256)) * 2, (48, 40)),
        encoded(rgba, "ICO"),
        icon(encoded(rgba, "BMP")[14:]),
    ]


def described(jpeg: bytes) -> bytes:
    """A JPEG with XMP in two places, and IPTC."""
    guid = b"0123456789ABCDEF" * 2
    rdf = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%s'
    note = b'<rdf:Description xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="%s"/>' % guid
    one = rdf % note + b"</rdf:RDF></x:xmpmeta>"
    two = rdf % (
        b'<rdf:Description xmlns:g="http://ns.google.com/photos/1.0/panorama/" g:FullPanoWidthPixels="96">'
        b'<d:rights xmlns:d="http://purl.org/dc/elements/1.1/">us</d:rights></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    parts = (
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + one),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + struct.pack(">32sII", guid, len(two), 0) + two),
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\7\x1c\2\x74\0\2us\0"),
    )
    return jpeg[:20] + b"".join(parts) + jpeg[20:]


def coloured(png: bytes) -> bytes:
    """A PNG that says all of its colours in chunks."""
    points = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    told = chunk(b"cICP", b"\x09\x10\0\1") + chunk(b"gAMA", struct.pack(">I", 55_000)) + chunk(b"cHRM", points)
    return png[:33] + told + png[33:]


def deep_tiffs() -> list[bytes]:
    """Samples that are read here: of 12, 16 and 32 bits, in planes, in tiles, packed or not."""
    grey = np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 34
    rgba = np.stack([grey, grey[::-1], grey[:, ::-1], grey], axis=-1)
    planes, options = np.moveaxis(rgba, -1, 0), {"photometric": "rgb", "extrasamples": ["assocalpha"], "metadata": None}
    twelve = with_tags(grey_tags(48, 40, offset=200, length=72 * 40), (258, SHORT, 1, 12))
    return [
        tiff(twelve).ljust(200, b"\0") + bytes(range(240)) * 12,
        _by_tifffile(grey, photometric="miniswhite", byteorder=">", bigtiff=True),
        _by_tifffile(planes, planarconfig="separate", compression="zlib", predictor=True, **options),
        _by_tifffile(rgba, tile=(16, 32), **options),
        _by_tifffile((grey / 9.0).astype(np.float32), photometric="minisblack", compression="lzma", rowsperstrip=7),
        _by_tifffile(rgba[..., :3].astype(np.uint8), photometric="cielab"),
    ]


def _by_tifffile(samples: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **({"metadata": None} | options))
    return buffer.getvalue()


def _from_corpus() -> list[bytes]:
    small = sorted(path for path in CORPUS.rglob("*") if path.is_file() and 0 < path.stat().st_size <= _MOST_BYTES)
    pictures = []
    for path in small:
        with path.open("rb") as file:
            if sniff(file.read(SIGNATURE_BYTES)):
                pictures.append(path)
    chosen = random.Random(7).sample(pictures, min(_FROM_CORPUS, len(pictures)))
    return [path.read_bytes() for path in chosen]
