"""What the API answers, as models: the JSON is made from them, and so is its documentation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from img_contract.config import Config
from img_contract.formats import MEDIA_TYPES, Format, OutputFormat
from img_contract.job import Job
from img_contract.outcome import FailureCode, JobStatus, Output, ResultWarning, State
from img_contract.values import MAX_SIDE
from pydantic import BaseModel, Field

from .problems import failure_kind


class Links(BaseModel):
    """Where to go next."""

    status: str = Field(description="GET: where the job is. ?wait=N answers when it has ended.")
    result: str = Field(description="GET: the processed file. DELETE: cancel or delete the job.")


class Submitted(BaseModel):
    """A job that was accepted."""

    id: str = Field(description="The job's guid.")
    status: State
    links: Links
    expires_at: datetime = Field(
        description="The job is kept at least until then; an ended job's status says until when."
    )


class SourceFacts(BaseModel):
    """The upload. What its header says is known once the job has ended."""

    filename: str | None
    media_type: str
    format: Format
    bytes: int
    width: int | None = Field(description="Pixels, upright.")
    height: int | None = Field(description="Pixels, upright.")
    frames: int | None
    orientation: int | None = Field(description="EXIF orientation that was applied; 1 is upright.")


class ResultFacts(BaseModel):
    """A processed file."""

    name: str
    href: str = Field(description="Where to fetch it.")
    media_type: str
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    frames: int = Field(description="More than 1: an animation.")
    bytes: int
    saved_bytes: int | None = Field(description="How much smaller it is than the upload; negative if it is larger.")
    sha256: str


class SourceSet(BaseModel):
    """Results of one media type, for a <source> within <picture>."""

    media_type: str = Field(description="For the attribute type.")
    srcset: str = Field(description="For the attribute srcset.")


class JobError(BaseModel):
    """Why a job failed."""

    code: FailureCode | str
    title: str
    detail: str
    limit: int | None
    actual: int | None


class Status(BaseModel):
    """Where a job is."""

    id: str
    status: State
    attempt: int = Field(description="Attempts started so far; more than 1 means that one was lost and repeated.")
    submitted_at: datetime | None = Field(description="None if the job's record is damaged.")
    started_at: datetime | None = Field(description="When the latest attempt started.")
    finished_at: datetime | None
    source: SourceFacts | None
    outputs: list[ResultFacts]
    srcset: str | None = Field(
        description="For the attribute srcset of <img>: every result of the first one's shape, one for each width."
    )
    sources: list[SourceSet] = Field(description="The same by media type, for <picture>.")
    dominant_color: str | None = Field(description="The colour that most of the first result has, #rrggbb.")
    placeholder: str | None = Field(description="The ThumbHash of the first result in base64, if it was asked for.")
    warnings: list[ResultWarning] = Field(description="What the result had to lose, and parameters without effect.")
    error: JobError | None
    links: Links
    expires_at: datetime


class Limits(BaseModel):
    """What is accepted."""

    accept: list[Format] = Field(description="Formats that may be uploaded; anything else is 415.")
    output: list[OutputFormat] = Field(description="Formats that can be asked for.")
    upload_bytes: int = Field(description="Largest upload; a larger one is 413.")
    upload_bytes_per_second: float = Field(description="Slowest upload; one that stays below it is 408.")
    parts: int = Field(description="Most parts of a form; more is 413.")
    field_bytes: int = Field(description="Largest parameter of a form; a larger one is 413.")
    header_bytes: int = Field(description="Largest headers of a request, its line included; larger ones are 431.")
    message_bytes: int = Field(description="Largest job message on the doorbell.")
    pixels: int = Field(description="Most pixels, width × height, of a picture or a result; more is 422.")
    frames: int = Field(description="Most frames of an animation; more is 422.")
    animation_pixels: int = Field(description="Most pixels of all frames of an animation together; more is 422.")
    side: int = Field(description="Longest side of a result in pixels; more is 422.")
    wait_seconds: float = Field(description="The longest wait.")
    queue: int = Field(description="Jobs that may wait; past it an upload is 503.")
    uploads: int = Field(description="Uploads that may be under way; past it an upload is 503.")
    rate: str | None = Field(description="Uploads that a key or address may send; past it an upload is 429.")
    free_bytes: int = Field(description="Free space to be kept; below it an upload is 507.")
    child_bytes: int = Field(description="Memory that rendering may take; a picture that needs more is 422.")
    job_seconds: float = Field(description="Time that an attempt at a job may take.")
    attempts: int = Field(description="Attempts at a job before it fails.")
    retention_seconds: float = Field(description="How long an ended job is kept.")


class Health(BaseModel):
    """The service is alive."""

    status: str = "ok"
    engines: int | None = Field(None, description="Engines that are alive (readiness only).")


_NEWEST_FIRST: Final = [
    MEDIA_TYPES[name] for name in (Format.AVIF, Format.WEBP, Format.JPEG, Format.PNG, Format.GIF, Format.TIFF)
]
"""In <picture> the first that a browser knows is taken."""


def links(job_id: str) -> Links:
    """The links of a job."""
    return Links(status=f"/resize/status/{job_id}", result=f"/resize/{job_id}")


def submitted(job: Job, state: State, retention_seconds: float) -> Submitted:
    """A job that was just accepted, or has not ended within the wait."""
    expires_at = job.submitted_at + timedelta(seconds=retention_seconds)
    return Submitted(id=job.id, status=state, links=links(job.id), expires_at=expires_at)


def status_of(status: JobStatus) -> Status:
    """Everything there is to know of a job."""
    job, outcome = status.job, status.outcome
    facts = outcome.facts if outcome else None
    failure = outcome.error if outcome else None
    outputs = outcome.outputs if outcome else ()
    return Status(
        id=status.id,
        status=status.state,
        attempt=status.attempt,
        submitted_at=job.submitted_at if job else None,
        started_at=status.started_at,
        finished_at=outcome.finished_at if outcome else None,
        source=SourceFacts(
            filename=job.source.filename,
            media_type=job.source.media_type,
            format=job.source.format,
            bytes=job.source.bytes,
            width=facts.width if facts else None,
            height=facts.height if facts else None,
            frames=facts.frames if facts else None,
            orientation=facts.orientation if facts else None,
        )
        if job
        else None,
        outputs=[_result_facts(status, output, alone=len(outputs) == 1) for output in outputs],
        srcset=_srcset(status.id, outputs),
        sources=_sources(status.id, outputs),
        dominant_color=facts.dominant_color if facts else None,
        placeholder=facts.placeholder if facts else None,
        warnings=list(outcome.warnings) if outcome else [],
        error=JobError(title=failure_kind(failure).title, **failure.model_dump()) if failure else None,
        links=links(status.id),
        expires_at=status.expires_at,
    )


def _result_facts(status: JobStatus, output: Output, *, alone: bool) -> ResultFacts:
    address = links(status.id).result
    return ResultFacts(
        href=address if alone else f"{address}/{output.name}",
        saved_bytes=status.job.source.bytes - output.bytes if status.job else None,
        **output.model_dump(exclude={"file"}),
    )


def _srcset(job_id: str, outputs: Sequence[Output]) -> str | None:
    """`href width` of each result that shows the same as the first, once for each width; None if there is only one."""
    by_width: dict[int, Output] = {}
    for output in outputs:
        if _same_shape(output, outputs[0]):
            by_width.setdefault(output.width, output)
    if len(by_width) < 2:  # noqa: PLR2004  a choice
        return None
    return ", ".join(f"{links(job_id).result}/{one.name} {width}w" for width, one in sorted(by_width.items()))


def _sources(job_id: str, outputs: Sequence[Output]) -> list[SourceSet]:
    kinds = dict.fromkeys(output.media_type for output in outputs)
    sets = [
        (kind, _srcset(job_id, [output for output in outputs if output.media_type == kind]))
        for kind in sorted(kinds, key=_NEWEST_FIRST.index)
    ]
    return [SourceSet(media_type=kind, srcset=srcset) for kind, srcset in sets if srcset]


def _same_shape(one: Output, other: Output) -> bool:
    """Whether two sizes can be one picture scaled: each side is off by its rounding at most."""
    return (
        abs(one.width * other.height - other.width * one.height)
        <= (one.width + other.width + one.height + other.height) / 2
    )


def limits_of(config: Config) -> Limits:
    """What is accepted, from the configuration."""
    return Limits(
        accept=list(config.limits.accept),
        output=list(OutputFormat),
        upload_bytes=config.limits.upload_bytes,
        upload_bytes_per_second=config.http.upload_bytes_per_second,
        parts=config.limits.parts,
        field_bytes=config.limits.field_bytes,
        header_bytes=config.limits.header_bytes,
        message_bytes=config.limits.message_bytes,
        pixels=config.limits.pixels,
        frames=config.limits.frames,
        animation_pixels=config.limits.animation_pixels,
        side=MAX_SIDE,
        wait_seconds=config.http.wait_seconds,
        queue=config.limits.queue,
        uploads=config.http.uploads,
        rate=config.access.rate,
        free_bytes=config.limits.free_bytes,
        child_bytes=config.engine.child_bytes,
        job_seconds=config.engine.job_seconds,
        attempts=config.engine.attempts,
        retention_seconds=config.retention_seconds,
    )
