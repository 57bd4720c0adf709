"""What runs in a child process: one picture, under limits, from the upload to a flushed file.

A child may be killed at any moment. It owns nothing but the file it writes; the parent publishes that.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from img_contract.formats import Format
from img_contract.job import Resize
from img_contract.outcome import Facts, Failure, ResultWarning
from img_contract.store import Rendered

from .encoding import encode, read_metadata
from .errors import PictureRefused
from .opening import PictureLimits, configure_decoders, open_picture, picture_faults
from .pipeline import process


@dataclass(frozen=True)
class Task:
    """One picture to render. Paths are on the volume."""

    source: Path
    format: Format
    ask: Resize
    target: Path
    """Where the result is written: a name that nobody else uses, next to its final one."""
    limits: PictureLimits
    cpu_seconds: int


@dataclass(frozen=True)
class Render:
    """What became of a task that ended well."""

    rendered: Rendered
    facts: Facts
    warnings: tuple[ResultWarning, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a picture was not rendered, and what its header said if that was read."""

    failure: Failure
    facts: Facts | None


def start_child(address_space_bytes: int) -> None:
    """Prepare a fresh child: its memory limit, its decoders, and an end when its parent ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    configure_decoders()
    warnings.simplefilter("ignore")  # Pillow's remarks on odd tags; what matters is in the job's own warnings
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def render(task: Task) -> Render | Refusal:
    """Render one picture. A picture that is at fault gives a Refusal; OSError is the disk's or the volume's."""
    _limit_cpu(task.cpu_seconds)
    try:
        with open(task.source, "rb") as file:
            opened = open_picture(file, task.format, task.ask, task.limits)
            kept = read_metadata(opened, task.ask)
            with picture_faults("decoded"):
                picture = process(opened, task.ask)
            with picture_faults("encoded"):
                data, picture = encode(picture, task.ask, kept)
    except PictureRefused as refused:
        return Refusal(refused.failure, refused.facts)
    with open(task.target, "wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    rendered = Rendered(
        path=task.target,
        name=f"image.{picture.encoder.extension}",
        media_type=picture.encoder.media_type,
        width=picture.image.width,
        height=picture.image.height,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return Render(rendered, picture.facts, picture.warnings)


def _limit_cpu(seconds: int) -> None:
    """Give this task so many seconds of CPU from now on; past them the kernel ends the process (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _follow_parent() -> None:
    """End when the parent has ended, also by SIGKILL: nobody would publish what is made here."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
