"""Opening a TIFF: by Pillow, or as a picture whose samples are read here."""

from __future__ import annotations

from typing import BinaryIO, Final

from img_contract.job.formats import Format
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from img_engine.render.formats import DECODERS
from img_engine.render.orientation import TRANSPOSES, as_seen
from img_engine.render.picture_faults import PictureRefused
from img_engine.render.reading.read_here import ReadHere
from img_engine.render.reading.tiff_layout import CIELAB, ICCLAB, TiffLayout, layout_to_read
from img_engine.render.reading.tiff_samples import mode_of, read_samples
from img_engine.render.reading.tiff_segments import group_bytes

_PROFILE: Final = 34_675
_XMP: Final = 700
_BIG: Final = 43
_BIG_ENDIAN_AND_BIG: Final = b"\0+"
"""Pillow does not read the directory of such a BigTIFF; its metadata are not kept."""


class SampledTiff(ReadHere):
    """A TIFF of samples that Pillow does not know. It is decoded upright, as Pillow does it."""

    format = "TIFF"

    def __init__(self, file: BinaryIO, layout: TiffLayout) -> None:
        self.layout, self._file = layout, file
        self._directory: int | None = None
        """Where its tags are, if Pillow reads them."""
        super().__init__(file)

    def getexif(self) -> Image.Exif:
        """Return the tags, as Pillow does it for a TIFF that it opens itself."""
        if self._exif is None:
            self._exif = Image.Exif()
            self._exif._loaded = True  # noqa: SLF001  as Image.getexif does
            if self._directory is not None:
                self._exif.bigtiff = self._directory_is_big
                self._exif.endian = self.layout.order
                self._exif.load_from_fp(self._file, self._directory)
        return self._exif

    def _open(self) -> None:
        layout = self.layout
        self._mode = mode_of(layout)
        self._size = as_seen(layout.size, layout.orientation)
        head = self._file.read(16)
        if head[2:4] != _BIG_ENDIAN_AND_BIG:
            self.tag_v2 = tags = ImageFileDirectory_v2(head[: 16 if head[2] == _BIG else 8])
            self._directory, self._directory_is_big = tags.next, head[2] == _BIG
            self._file.seek(tags.next)
            tags.load(self._file)
            self.info |= {name: tags[tag] for name, tag in (("icc_profile", _PROFILE), ("xmp", _XMP)) if tags.get(tag)}
        if layout.photometric in (CIELAB, ICCLAB):  # its colours are converted when it is decoded
            self.info.pop("icc_profile", None)

    def _decoded(self) -> Image.Image:
        image = read_samples(self._file, self.layout)
        operation = TRANSPOSES.get(self.layout.orientation)
        image = image if operation is None else image.transpose(operation)
        image.info = self.info
        return image


def open_tiff(file: BinaryIO) -> tuple[Image.Image, int]:
    """Open a TIFF, and return how many bytes its decoding takes beside the pixels. Raises what Pillow raises.

    Raises PictureRefused for a kind that cannot be read.
    """
    try:
        layout = layout_to_read(file)
    except PictureRefused:
        raise
    except Exception:  # noqa: BLE001  whatever it is, Pillow finds it, and words it better
        layout = None
    file.seek(0)
    if layout is None:
        return Image.open(file, formats=DECODERS[Format.TIFF]), 0
    return SampledTiff(file, layout), group_bytes(layout)
