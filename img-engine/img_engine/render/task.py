"""What rendering is given and what it gives back: plain data that can pass between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from img_contract.job.formats import Format
from img_contract.job.outcome import Facts, Failure, ResultFile, ResultWarning
from img_contract.job.resize import Resize


@dataclass(frozen=True)
class PictureLimits:
    """How large a picture may be."""

    pixels: int
    frames: int
    memory: int
    """Address space of the process that renders it, in bytes."""
    animation_pixels: int
    """Of all frames together."""


@dataclass(frozen=True)
class Watermark:
    """A second picture, to be put on the results."""

    source: Path
    format: Format


@dataclass(frozen=True)
class Task:
    """One upload to render. Paths are on this machine's disk."""

    source: Path
    format: Format
    options: Resize
    target: Path
    """Where results are written, each with its number added. Nothing else may use these names."""
    limits: PictureLimits
    watermark: Watermark | None = None
    accept: tuple[Format, ...] = ()
    """Formats that the client accepts; empty if it named none."""
    planes_from: int | None = 1_000_000
    """Decoded pixels from which on a JPEG is made from a JPEG's stored planes, if that gives the same picture; with
    fewer it takes as long as the pipeline. None: never."""


@dataclass(frozen=True)
class RenderOutcome:
    """The result of a task that succeeded: at least one file."""

    files: tuple[ResultFile, ...]
    facts: Facts
    warnings: tuple[ResultWarning, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a picture was not rendered, and what its header said, if it was read."""

    failure: Failure
    facts: Facts | None
