"""The one call of this library: an upload's file in, flushed result files out."""

from __future__ import annotations

import gc
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from img_contract.failpoints import failpoint
from img_contract.job.outcome import ResultFile
from img_contract.regular_file import open_regular
from PIL import Image

from img_engine.render.facts import with_appearance
from img_engine.render.jpeg_planes.planes import render_planes
from img_engine.render.picture import Upload
from img_engine.render.picture_faults import PictureRefused, picture_faults
from img_engine.render.pipeline import load, process
from img_engine.render.reading.opening import configure_decoders, open_picture
from img_engine.render.task import Refusal, RenderOutcome, Task
from img_engine.render.watermark import read_watermark
from img_engine.render.writing.encoding import EncodedFile, encode
from img_engine.render.writing.metadata import KeptMetadata, read_metadata

_Rendered = tuple[Image.Image, bytes | None, list[EncodedFile]]
"""A picture of the first result, its profile (None: sRGB), and the files."""


def render(task: Task) -> RenderOutcome | Refusal:
    """Render one upload. A picture that is at fault gives a Refusal.

    Raises FileNotFoundError if the upload or the watermark is not there as a regular file; other OSError is the disk's.
    """
    configure_decoders()
    facts = None
    try:
        with open_regular(task.source) as file:
            upload = replace(open_picture(file, task.format, task.limits), accept=task.accept)
            facts = upload.facts
            failpoint("child.decoding", f"{facts.width}x{facts.height}")
            return _rendered(upload, task)
    except PictureRefused as refused:
        refusal = Refusal(refused.failure, facts)
    gc.collect()  # the error's frames still hold what was refused for its size, and the answer needs memory, too
    return refusal


def _rendered(upload: Upload, task: Task) -> RenderOutcome:
    metadata = read_metadata(upload, task.options)
    with picture_faults("decoded"):
        upload = load(upload, task.options)
    appearance, profile, encoded = _from_planes(upload, task) or _from_pixels(upload, task, metadata)
    files = [_write(one, task.target.with_name(f"{task.target.name}{number}")) for number, one in enumerate(encoded)]
    warnings = [*upload.warnings, *(warning for one in encoded for warning in one.warnings)]
    return RenderOutcome(
        tuple(files), with_appearance(upload.facts, appearance, task.options, profile), tuple(dict.fromkeys(warnings))
    )


def _from_planes(upload: Upload, task: Task) -> _Rendered | None:
    """Render without a detour through RGB; None if the upload or the options do not qualify."""
    if task.watermark or task.planes_from is None:
        return None
    with picture_faults("encoded"):
        made = render_planes(upload, task.planes_from)
    return made and (made[0], None, made[1])


def _from_pixels(upload: Upload, task: Task, metadata: KeptMetadata) -> _Rendered:
    """Render by the pipeline; the watermark first, which is a picture of its own."""
    watermark = read_watermark(task.watermark, upload) if task.watermark else None
    with picture_faults("decoded"):
        made = process(upload, watermark)
    with picture_faults("encoded"):
        first = made[0]
        profile = first.first.profile if first.first else None
        return first.frames[0], profile, [encode(one, upload, metadata) for one in made]


def _write(encoded: EncodedFile, path: Path) -> ResultFile:
    failpoint("child.encoded")
    failpoint("storage.write")
    with open(path, "wb") as file:
        file.write(encoded.data)
        file.flush()
        os.fsync(file.fileno())
    sha256 = hashlib.sha256(encoded.data).hexdigest()
    return ResultFile(
        path, encoded.name, encoded.media_type, *encoded.size, encoded.frames, len(encoded.data), sha256=sha256
    )
