"""Records that a newer version has written: how to tell them from damaged ones, and what is understood of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, from_json

from img_contract.job.formats import Format
from img_contract.job.job import JOB_ID
from img_contract.job.outcome import Failure, Outcome, State


class _Outline(BaseModel):
    model_config = ConfigDict(frozen=True)


_TextOrNone = Annotated[str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)]


class SourceOutline(_Outline):
    """An uploaded picture; see `job.Source`."""

    filename: _TextOrNone = None
    media_type: str
    format: Format | str = Field(union_mode="left_to_right")
    bytes: int = Field(ge=0)


class JobOutline(_Outline):
    """What every version of a job has; see `job.Job`."""

    id: str
    submitted_at: AwareDatetime
    source: SourceOutline
    owner: _TextOrNone = None


def is_newer(content: bytes) -> bool:
    """Return whether a job that this version cannot read is of a newer one, rather than damaged.

    It is a JSON object with the id of a job, and with a higher version; or with what each job of this version has:
    when it was submitted, its upload, and an object with what is asked, whatever that has.
    """
    try:
        record = from_json(content)
    except ValueError:
        return False
    version, job_id = _member(record, "version"), _member(record, "id")
    if type(version) is not int or not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        return False
    whole = isinstance(_member(record, "resize"), dict) and outline(content) is not None
    return version > 1 or (version == 1 and whole)


def outline(content: bytes) -> JobOutline | None:
    """Return what is understood of a job; None if that is too little."""
    try:
        return JobOutline.model_validate_json(content)
    except ValidationError:
        return None


def job_id_in(content: bytes) -> Any:
    """Return what a job's record has for its id. Raises ValueError if it is no JSON."""
    return _member(from_json(content), "id")


def understood_outcome(content: bytes) -> Outcome | None:
    """Return an outcome without the parts that this version cannot read; None if too little is left: it is damaged.

    A state that is unknown counts as `done` if there are files, else as `failed` with that state for its reason.
    """
    try:
        record = from_json(content)
    except ValueError:
        return None
    state = _member(record, "state")
    if not isinstance(state, str):
        return None
    known = state in {State.DONE, State.FAILED, State.CANCELLED}
    outcome = _readable_part(record if known else {**record, "state": State.DONE})
    if outcome is None or outcome.outputs or outcome.state is State.CANCELLED:
        return outcome
    if known and outcome.state is State.DONE:
        return None
    return with_a_reason(outcome.model_copy(update={"state": State.FAILED}), state)


def with_a_reason(outcome: Outcome, state: str = State.FAILED) -> Outcome:
    """Return the outcome of a failed job with a reason in any case: where it has none, the state that was written."""
    error = outcome.error or Failure(
        code=state, detail=f"the engine's version ended the job as {state}, and says no more"
    )
    return outcome.model_copy(update={"error": error})


def _readable_part(record: Any) -> Outcome | None:
    """Read an outcome, leaving out the smallest parts with faults until there are none."""
    while True:
        try:
            return Outcome.model_validate(record)
        except ValidationError as error:
            paths = {_path(record, fault) for fault in error.errors(include_url=False)}
        if () in paths:
            return None
        for *parents, name in sorted(paths, reverse=True):  # from the last item of a list to its first
            part = record
            for parent in parents:
                part = part[parent]
            del part[name]


def _path(part: Any, fault: ErrorDetails) -> tuple[Any, ...]:
    """Return where the part with a fault is; the location of one goes on with what is missing, or with a type."""
    path: list[Any] = []
    steps: tuple[Any, ...] = fault["loc"]
    for step in steps:
        if not (isinstance(part, list) or (isinstance(part, dict) and step in part)):
            break
        part = part[step]
        path.append(step)
    return tuple(path)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
