"""The outcome of a job, and the files that an engine made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from img_contract.job.frozen import Frozen


class State(StrEnum):
    """The states of a job. The last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True if the job has ended."""
        return self not in (State.QUEUED, State.PROCESSING)


class FailureCode(StrEnum):
    """Why a job failed. docs/errors.md explains each."""

    PICTURE_CORRUPT = "picture_corrupt"
    PICTURE_UNSUPPORTED = "picture_unsupported"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    RESULT_TOO_LARGE = "result_too_large"
    CROP_OUTSIDE = "crop_outside"
    TOO_MUCH_MEMORY = "too_much_memory"
    ENCODING_FAILED = "encoding_failed"
    TOO_SLOW = "too_slow"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    JOB_DAMAGED = "job_damaged"


class WarningCode(StrEnum):
    """Losses of a result, and parameters without effect. docs/errors.md explains each."""

    FRAMES_DROPPED = "frames_dropped"
    ALPHA_FLATTENED = "alpha_flattened"
    METADATA_DROPPED = "metadata_dropped"
    PROFILE_UNUSABLE = "profile_unusable"
    PARAMETER_UNUSED = "parameter_unused"
    NOT_ENLARGED = "not_enlarged"
    CROP_CLIPPED = "crop_clipped"
    PROFILE_DROPPED = "profile_dropped"
    MAX_BYTES_EXCEEDED = "max_bytes_exceeded"
    COLOURS_REDUCED = "colours_reduced"
    GAIN_MAP_DROPPED = "gain_map_dropped"
    HDR_TONE_MAPPED = "hdr_tone_mapped"
    PIXELS_NOT_SQUARE = "pixels_not_square"
    LARGER_THAN_UPLOAD = "larger_than_upload"


class _Record(Frozen, extra="ignore"):
    """An older API ignores what a newer engine adds to an outcome."""


class Failure(_Record):
    """Why there is no result, in words for the person who sent the picture."""

    code: FailureCode | str = Field(union_mode="left_to_right")
    detail: str
    limit: int | None = Field(None, description="The limit that was passed, where one was.")
    actual: int | None = Field(None, description="What was found instead of the limit.")


class ResultWarning(_Record):
    """Something the result had to lose."""

    code: WarningCode | str = Field(union_mode="left_to_right")
    detail: str


class Output(_Record):
    """One result file."""

    name: str = Field(description="The name it is offered under, e.g. image.jpg.")
    file: str = Field(
        pattern=r"^[1-9][0-9]*-[^/\x00]+$",
        description="Its file in the job's result folder; one per attempt, so that none is overwritten.",
    )
    media_type: str
    width: int = Field(0, ge=0, description="Pixels; 0 if it is not known.")
    height: int = Field(0, ge=0, description="Pixels; 0 if it is not known.")
    frames: int = Field(1, ge=1)
    bytes: int = Field(ge=1)
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="Empty if it is not known.")

    @classmethod
    def of(cls, result: ResultFile, file: str) -> Output:
        """Describe a result that was published under the name `file`."""
        facts = {name: value for name, value in vars(result).items() if name != "path"}
        return cls(file=file, **facts)


@dataclass(frozen=True)
class ResultFile:
    """A result that the engine has written, complete and flushed, before it is published."""

    path: Path
    """On this machine's disk."""
    name: str
    media_type: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    frames: int
    bytes: int
    sha256: str


class Facts(_Record):
    """Facts that were found in the upload."""

    width: int = Field(description="Pixels, upright: after the EXIF orientation is applied.")
    height: int = Field(description="Pixels, upright.")
    frames: int = 1
    orientation: int = Field(1, ge=1, le=8, description="EXIF orientation of the upload; 1 is upright.")
    dominant_color: str | None = Field(None, description="The colour that most of the result has: #rrggbb.")
    placeholder: str | None = Field(None, description="The placeholder that was asked for: a ThumbHash in base64.")


class Outcome(_Record):
    """`outcome.json`: written once, and never changed."""

    version: int = Field(1, ge=1)
    state: Literal[State.DONE, State.FAILED, State.CANCELLED]
    attempt: int = Field(0, ge=0, description="How many attempts were started.")
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime
    facts: Facts | None = None
    outputs: tuple[Output, ...] = ()
    warnings: tuple[ResultWarning, ...] = ()
    error: Failure | None = None


def attempts_exhausted(attempts: int, reason: str | None) -> Failure:
    """Return the failure of a job whose attempts are spent. `reason`: why the last one was abandoned, if known."""
    detail = f"gave up after {attempts} attempts; the last one ended with: {reason or 'no word from the engine'}"
    return Failure(code=FailureCode.ATTEMPTS_EXHAUSTED, detail=detail)


def growth(before: int, results: Sequence[Output | ResultFile]) -> list[ResultWarning]:
    """Return a warning with the sizes of the results that have more bytes than the upload, if there are any."""
    sizes = ", ".join(f"{result.name} has {result.bytes} bytes" for result in results if result.bytes > before)
    detail = f"the upload has {before} bytes, {sizes}"
    return [ResultWarning(code=WarningCode.LARGER_THAN_UPLOAD, detail=detail)] if sizes else []
