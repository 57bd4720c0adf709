"""What the API answers, as models: the JSON is made from them, and so is its documentation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from img_contract.config import Config
from img_contract.http_models import (
    JobError,
    Limits,
    Links,
    ResultFacts,
    SourceFacts,
    SourceSet,
    Status,
    Submitted,
)
from img_contract.job.formats import MEDIA_TYPES, RESULT_FORMATS, Format
from img_contract.job.job import Job
from img_contract.job.outcome import Output, State
from img_contract.job.status import JobStatus
from img_contract.job.values import MAX_SIDE

from img_rest.api.problems import failure_kind

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
        output=list(RESULT_FORMATS),
        upload_bytes=config.limits.upload_bytes,
        upload_bytes_per_second=config.http.upload_bytes_per_second,
        form_parts=config.limits.form_parts,
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
