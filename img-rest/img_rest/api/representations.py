"""From jobs and configuration to the models that are answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from img_contract.config import Config
from img_contract.http_models import (
    EngineFacts,
    Hour,
    JobError,
    JobPage,
    Limits,
    Links,
    Percentiles,
    ResultFacts,
    ShortStatus,
    SourceFacts,
    SourceSet,
    Stats,
    Status,
    Submitted,
)
from img_contract.job import stats as job_stats
from img_contract.job.formats import MEDIA_TYPES, RESULT_FORMATS, Format
from img_contract.job.job import Job
from img_contract.job.outcome import Failure, Output, State, growth
from img_contract.job.query import JobList
from img_contract.job.status import JobStatus
from img_contract.job.values import MAX_SIDE

from img_rest.api.problems import failure_kind

_NEWEST_FIRST: Final = (Format.AVIF, Format.WEBP, Format.JPEG, Format.PNG, Format.GIF, Format.TIFF)
_RANKS: Final = {MEDIA_TYPES[name]: rank for rank, name in enumerate(_NEWEST_FIRST)}
"""The order of the sources in <picture>, of which a browser takes the first that it knows."""


def links(job_id: str, prefix: str) -> Links:
    """Return the addresses of a job, as paths. `prefix`: the path under which the client sees the API."""
    return Links(status=f"{prefix}/resize/status/{job_id}", result=f"{prefix}/resize/{job_id}")


def submitted(job: Job, state: State, retention_seconds: float, prefix: str) -> Submitted:
    """Represent a job that was just accepted, or that was waited for."""
    expires_at = job.submitted_at + timedelta(seconds=retention_seconds)
    return Submitted(id=job.id, status=state, links=links(job.id, prefix), expires_at=expires_at)


def status_of(status: JobStatus, prefix: str) -> Status:
    """Represent all that is known of a job."""
    job, outcome = status.job, status.outcome
    facts = outcome.facts if outcome else None
    failure = outcome.error if outcome else None
    outputs = outcome.outputs if outcome else ()
    addresses = links(status.id, prefix)
    saved = _saved(status)
    sources = _sources(addresses.result, outputs)
    return Status(
        id=status.id,
        status=status.state,
        position=status.position,
        attempt=status.attempt,
        submitted_at=job.submitted_at if job else None,
        started_at=status.started_at,
        finished_at=outcome.finished_at if outcome else None,
        source=SourceFacts(
            filename=job.source.filename,
            media_type=job.source.media_type,
            format=job.source.format,
            bytes=job.source.bytes,
            **{name: getattr(facts, name, None) for name in ("width", "height", "frames", "orientation")},
        )
        if job
        else None,
        outputs=[_result_facts(status, addresses.result, output, alone=len(outputs) == 1) for output in outputs],
        saved_bytes=saved,
        saved_percent=_percent(status, saved),
        srcset=_srcset(sources, outputs),
        sources=sources,
        dominant_color=facts.dominant_color if facts else None,
        placeholder=facts.placeholder if facts else None,
        warnings=[*outcome.warnings, *(growth(job.source.bytes, outputs) if job else [])] if outcome else [],
        error=_error(failure),
        links=addresses,
        expires_at=status.expires_at,
    )


def page_of(page: JobList, prefix: str) -> JobPage:
    """Represent a page of a list of jobs."""
    return JobPage(jobs=[_short(status, prefix) for status in page.jobs], next=page.next)


def stats_of(stats: job_stats.Stats) -> Stats:
    """Represent how the service does."""
    hour = stats.hour
    return Stats(
        queued=stats.queued,
        processing=stats.processing,
        oldest_seconds=None if stats.oldest_seconds is None else round(stats.oldest_seconds, 3),
        engines=[EngineFacts(name=engine.name, version=engine.version) for engine in stats.engines],
        free_bytes=stats.free_bytes,
        hour=Hour(
            done=hour.done,
            failed=dict(hour.failed),
            cancelled=hour.cancelled,
            seconds=Percentiles(p50=hour.p50_seconds, p95=hour.p95_seconds),
            uploaded_bytes=hour.uploaded_bytes,
            saved_bytes=hour.saved_bytes,
        ),
    )


def _short(status: JobStatus, prefix: str) -> ShortStatus:
    job, outcome = status.job, status.outcome
    return ShortStatus(
        id=status.id,
        status=status.state,
        filename=job.source.filename if job else None,
        format=job.source.format if job else None,
        bytes=job.source.bytes if job else None,
        submitted_at=job.submitted_at if job else None,
        started_at=status.started_at,
        finished_at=outcome.finished_at if outcome else None,
        result_bytes=sum(output.bytes for output in outcome.outputs) if outcome and outcome.outputs else None,
        saved_percent=_percent(status, _saved(status)),
        error=_error(outcome.error if outcome else None),
        links=links(status.id, prefix),
    )


def _saved(status: JobStatus) -> int | None:
    """Return by how many bytes all results are smaller than the upload; None if there are none."""
    outputs = status.outcome.outputs if status.outcome else ()
    return status.job.source.bytes - sum(output.bytes for output in outputs) if status.job and outputs else None


def _percent(status: JobStatus, saved: int | None) -> float | None:
    return round(100 * saved / status.job.source.bytes, 1) if status.job and saved is not None else None


def _error(failure: Failure | None) -> JobError | None:
    return JobError(title=failure_kind(failure).title, **failure.model_dump()) if failure else None


def _result_facts(status: JobStatus, address: str, output: Output, *, alone: bool) -> ResultFacts:
    return ResultFacts(
        href=address if alone else f"{address}/{output.name}",
        saved_bytes=status.job.source.bytes - output.bytes if status.job else None,
        **output.model_dump(exclude={"file"}),
    )


def _sources(address: str, outputs: Sequence[Output]) -> list[SourceSet]:
    """Return what <picture> can choose from: the results of the first one's shape by type, once for each width.

    None at all if that is a single result.
    """
    sets: dict[str, dict[int, str]] = {}
    for output in outputs:
        if output.width and _same_shape(output, outputs[0]):
            sets.setdefault(output.media_type, {}).setdefault(output.width, output.name)
    if sum(len(names) for names in sets.values()) < 2:  # noqa: PLR2004  a choice
        return []
    return [
        SourceSet(media_type=kind, srcset=", ".join(f"{address}/{names[width]} {width}w" for width in sorted(names)))
        for kind, names in sorted(sets.items(), key=lambda one: _RANKS.get(one[0], len(_RANKS)))  # a newer one's last
    ]


def _srcset(sources: Sequence[SourceSet], outputs: Sequence[Output]) -> str | None:
    """Return what <img> can choose from: that of the first result's type; None if that has one width."""
    found = next((one.srcset for one in sources if one.media_type == outputs[0].media_type), "")
    return found if ", " in found else None


def _same_shape(one: Output, other: Output) -> bool:
    """Return whether two sizes can be one picture scaled, when each side is off by its rounding at most."""
    return (
        abs(one.width * other.height - other.width * one.height)
        <= (one.width + other.width + one.height + other.height) / 2
    )


def limits_of(config: Config) -> Limits:
    """Return what is accepted, from the configuration: each limit has the name of its key."""
    sections = (config.limits, config.http, config.engine)
    like_named = {name: value for section in sections for name, value in section if name in Limits.model_fields}
    return Limits(
        output=list(RESULT_FORMATS),
        side=MAX_SIDE,
        rate=config.access.rate,
        retention_seconds=config.retention_seconds,
        **like_named,
    )
