"""Small files that ask for much, and large files without content, each made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import pillow_heif
from PIL import Image

from img_testing.samples import encoded, four_corners

LARGE: Final = 100_000_000
"""Bytes of those that are large: an upload may have 128 MiB."""

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    size: tuple[int, int] = (64, 32), *, before: bytes = b"", after: bytes = b"", data: bytes | None = None
) -> bytes:
    pixels = zlib.compress(b"\0" * (size[1] * (size[0] + 1))) if data is None else data
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    return b"".join(
        (_PNG_SIGNATURE, chunk(b"IHDR", header), before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b""))
    )


def inflating(size: int) -> bytes:
    """A zlib stream of so many zeros: a thousandth of their size. Its end is missing."""
    packer = zlib.compressobj(9)
    first, portion = (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + portion * (size // 1_000_000 - 1)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(size: tuple[int, int] = (64, 32), *, front: bytes = b"", behind: bytes = b"", **options: object) -> bytes:
    """`front` follows SOI."""
    whole = encoded(four_corners(size), "JPEG", **options)
    return whole[:2] + front + whole[2:] + behind


def jpeg_that_lies(size: tuple[int, int]) -> bytes:
    """A few hundred bytes whose header says another size."""
    whole = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    at = whole.index(b"\xff\xc0")
    whole[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(whole)


def scans(count: int, size: tuple[int, int] = (6000, 6000)) -> bytes:
    """A progressive JPEG of one grey, whose scans, after the first, each refine nothing at all."""
    frame = segment(0xC2, struct.pack(">BHHB3B", 8, size[1], size[0], 1, 1, 0x11, 0))
    tables = segment(0xDB, b"\0" + b"\x01" * 64) + frame
    # One code of one bit for each: category 0 of DC; end of band for 2^14 blocks and more of AC.
    dc = segment(0xC4, b"\x00" + b"\x01" + b"\0" * 15 + b"\x00")
    ac = segment(0xC4, b"\x10" + b"\x01" + b"\0" * 15 + b"\xe0")
    blocks = (-(-size[0] // 8)) * (-(-size[1] // 8))
    first = segment(0xDA, bytes((1, 1, 0x00, 0, 0, 0))) + b"\0" * (blocks // 8 + 1)
    # EOB14: the code's bit and 14 more, all zeros: 16,384 blocks.
    again = segment(0xDA, bytes((1, 1, 0x00, 1, 63, 0))) + b"\0" * ((blocks // 16_384 + 1) * 15 // 8 + 1)
    return b"\xff\xd8" + tables + dc + ac + first + again * count + b"\xff\xd9"


def gif(size: tuple[int, int], count: int, *, frame: tuple[int, int] = (1, 1), front: bytes = b"") -> bytes:
    """A GIF of so many frames of one dot; `front` comes before the first."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"!\xf9\x04\0\x01\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0"
    return head + front + one * count + b";"


def riff(*parts: bytes) -> bytes:
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp(canvas: tuple[int, int], count: int, *, frame: tuple[int, int] = (8, 8)) -> bytes:
    """An animated WebP of so many equal frames, each lossless."""
    still = encoded(Image.new("RGB", frame, "red"), "WEBP", lossless=True)[12:]
    head = struct.pack("<B3x", 0x02) + b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    place = bytes(6) + b"".join((side - 1).to_bytes(3, "little") for side in frame) + b"\x0a\0\0\0"
    one = riff_chunk(b"ANMF", place + still)
    return riff(riff_chunk(b"VP8X", head), riff_chunk(b"ANIM", bytes(6)), *([one] * count))


Tag = tuple[int, int, int, int]
"""Number, type, count, value or offset."""

SHORT, LONG = 3, 4


def directory(tags: list[Tag], following: int = 0) -> bytes:
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<H", len(tags)) + table + struct.pack("<I", following)


def grey_tags(width: int, height: int, *, offset: int = 8, length: int | None = None) -> list[Tag]:
    """The tags of a grey picture of 8 bits in one strip."""
    return [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 1),
        (273, LONG, 1, offset),
        (277, SHORT, 1, 1),
        (278, LONG, 1, height),
        (279, LONG, 1, width * height if length is None else length),
    ]


def with_tags(tags: list[Tag], *changed: Tag) -> list[Tag]:
    by_number = {tag[0]: tag for tag in (*tags, *changed)}
    return [by_number[number] for number in sorted(by_number)]


def tiff(tags: list[Tag], *, following: int = 0, behind: bytes = b"") -> bytes:
    return b"II*\0" + struct.pack("<I", 8) + directory(tags, following) + behind


def tiff_of_pages(count: int, size: tuple[int, int] = (1, 1)) -> bytes:
    """So many directories, each leading to the next."""
    each = len(directory(grey_tags(*size)))
    pages = [
        directory(grey_tags(*size, offset=0), 8 + (number + 1) * each if number + 1 < count else 0)
        for number in range(count)
    ]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def exif(content: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + content)


def heif(size: tuple[int, int] = (64, 32)) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(four_corners(size)).save(buffer, quality=80)
    return buffer.getvalue()


def box_sizes_changed(data: bytes, kind: bytes, size: int) -> bytes:
    """The same file with another length of that box."""
    changed = bytearray(data)
    at = changed.index(kind) - 4
    changed[at : at + 4] = struct.pack(">I", size)
    return bytes(changed)


def ispe_changed(data: bytes, size: tuple[int, int]) -> bytes:
    """An AVIF or HEIC that claims another size of its pictures (ISO/IEC 23008-12, 6.5.3)."""
    changed = bytearray(data)
    at = -1
    while (at := changed.find(b"ispe", at + 1)) >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", *size)
    return bytes(changed)


def moving(kind: str, size: tuple[int, int], count: int) -> bytes:
    frames = [Image.new("RGB", size, (number % 256, number // 256, 0)) for number in range(count)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=10)


Maker = Callable[[], bytes]


def in_a_jpeg(behind: bytes, at: int, content: bytes) -> bytes:
    """A JPEG with that inserted so many bytes after the beginning of a marker."""
    whole = jpeg()
    place = whole.index(behind) + at
    return whole[:place] + content + whole[place:]


def bmp_of_runs(content: bytes, size: tuple[int, int] = (4000, 4000)) -> bytes:
    """A BMP of 8 bits whose runs are these (BI_RLE8)."""
    offset = 54 + 1024
    head = struct.pack("<IHHI", offset + len(content), 0, 0, offset)
    about = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, 1, len(content), 0, 0, 256, 0)
    return b"BM" + head + about + bytes(1024) + content


def indexed_bmp(bits: int, compression: int, pixels: bytes, size: tuple[int, int], *, header: int = 40) -> bytes:
    """A BMP of a palette: black, red, green, blue, and so on in a circle."""
    colours = (b"\0\0\0", b"\0\0\xff", b"\0\xff\0", b"\xff\0\0")
    palette = b"".join(colours[number % 4] + bytes(header != 12) for number in range(1 << bits))
    about = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    if header == 12:
        about = struct.pack("<IHHHH", 12, *size, 1, bits)
    offset = 14 + len(about) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + about + palette + pixels


def masked_bmp(words: Any, bits: int, masks: tuple[int, ...], *, upwards: bool = True) -> bytes:
    """A BMP of pixels of 16 or 32 bits, rows × columns, with masks of three channels or four."""
    height, width = words.shape
    rows = (words[::-1] if upwards else words).astype(f"<u{bits // 8}")
    padding = bytes(-rows.itemsize * width % 4)
    pixels = b"".join(row.tobytes() + padding for row in rows)
    about = struct.pack("<IiiHHIIiiII", 56, width, height if upwards else -height, 1, bits, 3, len(pixels), 0, 0, 0, 0)
    about += struct.pack("<4I", *masks, *[0] * (4 - len(masks)))
    return b"BM" + struct.pack("<IHHI", 70 + len(pixels), 0, 0, 70) + about + pixels


def icon(picture: bytes, bits: int = 32) -> bytes:
    """An icon of one picture, PNG or DIB."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, bits, len(picture), 22) + picture


def exif_of_fractions(count: int) -> bytes:
    """EXIF whose orientation is so many fractions."""
    return b"II*\0" + struct.pack("<I", 8) + directory([(0x112, 5, count, 30)]) + bytes(8 * count)


def webp_with(flag: int, kind: bytes, content: bytes) -> bytes:
    """A still WebP with one more chunk, which a flag of the header announces."""
    head = struct.pack("<B3x", flag) + (63).to_bytes(3, "little") + (31).to_bytes(3, "little")
    still = encoded(four_corners(), "WEBP", lossless=True)[12:]
    return riff(riff_chunk(b"VP8X", head), still, riff_chunk(kind, content))
