"""What runs in a child process: one upload, under limits, from its file to flushed results.

A child may be killed at any moment. It owns nothing but the files it writes; the parent publishes those.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import resource
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from img_contract.failpoints import arm, failpoint
from img_contract.job.formats import Format
from img_contract.job.outcome import Facts, Failure, ResultFile, ResultWarning
from img_contract.job.resize import Resize
from img_contract.regular_file import open_upload
from PIL import Image

from img_engine.errors import PictureRefused
from img_engine.render.facts import LOOK_AT, with_look
from img_engine.render.jpeg_planes.planes import render_planes
from img_engine.render.picture import PictureLimits, Upload
from img_engine.render.pipeline import load, process
from img_engine.render.reading.opening import configure_decoders, open_picture, picture_faults
from img_engine.render.watermark import read_stamp
from img_engine.render.writing.encoding import Finished, encode, finished
from img_engine.render.writing.metadata import KeptMetadata, read_metadata

_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
"""Which process the kernel ends first when memory runs out: the highest, 1000 (proc_pid_oom_score_adj(5))."""


@dataclass(frozen=True)
class Stamp:
    """A second upload, to be put on the results. The path is on the volume."""

    source: Path
    format: Format


@dataclass(frozen=True)
class Task:
    """One upload to render. Paths are on the volume."""

    source: Path
    format: Format
    ask: Resize
    target: Path
    """Where results are written, each with its number added: names that nobody else uses, next to the final ones."""
    limits: PictureLimits
    cpu_seconds: int
    watermark: Stamp | None = None
    accept: tuple[Format, ...] = ()


@dataclass(frozen=True)
class Render:
    """What became of a task that ended well: at least one result."""

    rendered: tuple[ResultFile, ...]
    facts: Facts
    warnings: tuple[ResultWarning, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a picture was not rendered, and what its header said if that was read."""

    failure: Failure
    facts: Facts | None


def start_child(address_space_bytes: int) -> None:
    """Prepare a fresh child: its memory limit, its decoders, and an end when its parent ends."""
    _die_before_parent()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    arm(os.environ)
    configure_decoders()
    warnings.simplefilter("ignore")  # Pillow's remarks on odd tags; what matters is in the job's own warnings
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def render(task: Task) -> Render | Refusal:
    """Render one upload. A picture that is at fault gives a Refusal.

    Raises FileNotFoundError if the upload is not there as a regular file; other OSError is the disk's or the volume's.
    """
    _limit_cpu(task.cpu_seconds)
    try:
        with open_upload(task.source) as file:
            upload = open_picture(file, task.format, task.limits)
            failpoint("child.decoding", f"{upload.facts.width}x{upload.facts.height}")
            with _facts_told(upload.facts):
                return _rendered(replace(upload, accept=task.accept), task)
    except PictureRefused as refused:
        answer = Refusal(refused.failure, refused.facts)
    gc.collect()  # what was refused for its size is still held by the error's frames, and the answer needs memory, too
    return answer


def _rendered(upload: Upload, task: Task) -> Render:
    kept = read_metadata(upload.image, task.ask)
    with picture_faults("decoded"):
        upload = load(upload, task.ask)
    look, results = _from_planes(upload, task) or _from_pixels(upload, task, kept)
    rendered = [
        _written(one, task.target.with_name(f"{task.target.name}{number}")) for number, one in enumerate(results)
    ]
    remarks = [*upload.warnings, *(remark for one in results for remark in one.warnings)]
    return Render(tuple(rendered), with_look(upload.facts, look, task.ask), tuple(dict.fromkeys(remarks)))


def _from_planes(upload: Upload, task: Task) -> tuple[Image.Image, list[Finished]] | None:
    """The short way; None if it does not lead there."""
    if task.watermark:
        return None
    with picture_faults("encoded"):
        planar = render_planes(upload)
    if planar is None:
        return None
    results = [finished(one.result, one.result.plan.canvas, 1, one.data, []) for one in planar]
    return planar[0].look((LOOK_AT, LOOK_AT)), results


def _from_pixels(upload: Upload, task: Task, kept: KeptMetadata) -> tuple[Image.Image, list[Finished]]:
    stamp = read_stamp(task.watermark.source, task.watermark.format, upload) if task.watermark else None
    with picture_faults("decoded"):
        made = process(upload, stamp)
    with picture_faults("encoded"):
        return made[0].frames[0], [encode(one, upload, kept) for one in made]


def _written(result: Finished, target: Path) -> ResultFile:
    failpoint("child.encoded")
    failpoint("storage.write")
    with open(target, "wb") as file:
        file.write(result.data)
        file.flush()
        os.fsync(file.fileno())
    return ResultFile(
        path=target,
        name=result.name,
        media_type=result.media_type,
        width=result.size[0],
        height=result.size[1],
        frames=result.frames,
        bytes=len(result.data),
        sha256=hashlib.sha256(result.data).hexdigest(),
    )


@contextmanager
def _facts_told(facts: Facts) -> Iterator[None]:
    """Let a refusal carry what the header said."""
    try:
        yield
    except PictureRefused as refused:
        refused.facts = facts
        raise


def _limit_cpu(seconds: int) -> None:
    """Give this task so many seconds of CPU from now on; past them the kernel ends the process (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _die_before_parent() -> None:
    """Let the kernel take a child when memory runs out, which costs one attempt, and not the parent, which has all."""
    with suppress(OSError):  # only Linux has it; a child may always raise its own
        _OOM_SCORE.write_text("1000")


def _follow_parent() -> None:
    """End when the parent has ended, also by SIGKILL: nobody would publish what is made here."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
