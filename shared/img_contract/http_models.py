"""Models of the API's answers: a client parses them, and the API and its documentation are made from them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode, ResultWarning, State
from img_contract.job.values import ResultFormat


class Links(BaseModel):
    """Addresses of a job."""

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
    format: Format | str = Field(union_mode="left_to_right")
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
    width: int = Field(description="Pixels; 0 if a newer engine did not say it.")
    height: int = Field(description="Pixels; 0 if a newer engine did not say it.")
    frames: int = Field(description="More than 1: an animation.")
    bytes: int
    saved_bytes: int | None = Field(description="How much smaller it is than the upload; negative if it is larger.")
    sha256: str = Field(description="Of the file; empty if a newer engine did not say it.")


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
    """The status of a job."""

    id: str
    status: State
    position: int | None = Field(
        None, description="How many queued jobs are taken before it; null unless it is queued, and if it is not known."
    )
    attempt: int = Field(description="Attempts started so far; more than 1 means that one was lost and repeated.")
    submitted_at: datetime | None = Field(description="None if the job's record is damaged.")
    started_at: datetime | None = Field(description="When the latest attempt started.")
    finished_at: datetime | None
    source: SourceFacts | None
    outputs: list[ResultFacts]
    saved_bytes: int | None = Field(
        None, description="How much smaller all results together are than the upload; negative if they are larger."
    )
    saved_percent: float | None = Field(None, description="The same as a share of the upload, in percent.")
    srcset: str | None = Field(
        description="For the attribute srcset of <img>: every result of the first one's shape and type, one for each "
        "width; None if there is one."
    )
    sources: list[SourceSet] = Field(
        description="For <picture>: the results of the first one's shape by media type, newest first. "
        "Empty if there is one."
    )
    dominant_color: str | None = Field(description="The colour that most of the first result has, #rrggbb.")
    placeholder: str | None = Field(description="The ThumbHash of the first result in base64, if it was asked for.")
    warnings: list[ResultWarning] = Field(description="What the result had to lose, and parameters without effect.")
    error: JobError | None
    links: Links
    expires_at: datetime


class ShortStatus(BaseModel):
    """The status of a job, as a list has it."""

    id: str
    status: State
    filename: str | None = Field(description="Of the upload, as its client named it.")
    format: Format | str | None = Field(union_mode="left_to_right", description="Of the upload.")
    bytes: int | None = Field(description="Size of the upload.")
    submitted_at: datetime | None = Field(description="None if the job's record is damaged.")
    started_at: datetime | None = Field(description="When the latest attempt started.")
    finished_at: datetime | None
    result_bytes: int | None = Field(description="Size of all results together; null unless the job is done.")
    saved_percent: float | None = Field(description="How much smaller that is than the upload.")
    error: JobError | None
    links: Links


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[ShortStatus] = Field(description="Perhaps fewer than the limit, or none, though there are more.")
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class EngineFacts(BaseModel):
    """An engine that is alive."""

    name: str
    version: str | None


class Percentiles(BaseModel):
    """Durations."""

    p50: float | None = Field(description="Half of the jobs took no longer; null if there are none.")
    p95: float | None = Field(description="Of 20 jobs, 19 took no longer.")


class Hour(BaseModel):
    """The jobs that ended within the last hour."""

    done: int
    failed: dict[str, int] = Field(description="How many, by the code of their error.")
    cancelled: int
    seconds: Percentiles = Field(description="Of the done jobs, from submission to end; to one percent.")
    uploaded_bytes: int = Field(description="Of the done jobs.")
    saved_bytes: int = Field(description="How much smaller their results are; negative if they are larger.")


class Stats(BaseModel):
    """How the service does."""

    queued: int = Field(description="Jobs that wait.")
    processing: int = Field(description="Jobs that are worked on.")
    oldest_seconds: float | None = Field(description="How long the oldest queued job has waited; null if none waits.")
    engines: list[EngineFacts] = Field(description="The engines that are alive.")
    free_bytes: int | None = Field(description="Free space on the volume; null where jobs are in an object store.")
    hour: Hour


class Limits(BaseModel):
    """The limits of what is accepted."""

    accept: list[Format] = Field(description="Formats that may be uploaded; anything else is 415.")
    output: list[ResultFormat] = Field(description="Formats that can be asked for.")
    upload_bytes: int = Field(description="Largest upload; a larger one is 413.")
    upload_bytes_per_second: float = Field(description="Slowest upload; one that stays below it is 408.")
    form_parts: int = Field(description="Most parts of a form; more is 413.")
    field_bytes: int = Field(description="Largest parameter of a form; a larger one is 413.")
    header_bytes: int = Field(description="Largest headers of a request, its line included; larger ones are 431.")
    message_bytes: int = Field(description="Largest job message on the notifier.")
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
    too_new: int | None = Field(
        None, description="Jobs of a newer version that no engine here understands: they wait for one (readiness only)."
    )


class ParameterError(BaseModel):
    """One parameter that was refused."""

    parameter: str
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="A URI that names the kind of problem: urn:img-rest:problem:<code>.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was expected, and what was found.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The kind of problem, for programs.")
    errors: list[ParameterError] | None = Field(None, description="Each parameter that was refused.")
    limit: int | None = Field(None, description="The limit that was passed.")
    actual: int | None = Field(None, description="What was found instead.")
