"""Jobs that a newer version has written: how to tell them from damaged ones, and what is understood of them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from img_contract.job.formats import Format
from img_contract.job.job import JOB_ID

_ADDITIONS: Final = {"extra_forbidden", "enum"}
"""What pydantic calls a field that is unknown, and a value that is none of a list."""


class _Outline(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceOutline(_Outline):
    """An uploaded picture; see `job.Source`."""

    filename: str | None = None
    media_type: str
    format: Format | str = Field(union_mode="left_to_right")
    bytes: int


class JobOutline(_Outline):
    """What every version of a job has; see `job.Job`."""

    id: str
    submitted_at: AwareDatetime
    source: SourceOutline
    owner: str | None = None


def is_newer(content: bytes, error: ValidationError) -> bool:
    """Return whether a job that cannot be read, with this error, is of a newer version rather than damaged.

    It has the id of a job. Its version is higher; or it has fields that are unknown, or values that the known fields do
    not list, and no other fault.
    """
    try:
        job_id, version = job_id_in(content), _member(from_json(content), "version")
    except ValueError:
        return False
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        return False
    if type(version) is int and version > 1:
        return True
    faults = error.errors(include_url=False)
    # A list with a bad item is reported twice, once for the item and once for itself; the item says more.
    around = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    return all(fault["type"] in _ADDITIONS for fault in faults if fault["loc"] not in around)


def outline(content: bytes) -> JobOutline | None:
    """Return what is understood of a job; None if that is too little."""
    try:
        return JobOutline.model_validate_json(content)
    except ValidationError:
        return None


def job_id_in(content: bytes) -> Any:
    """Return what a job's record has for its id. Raises ValueError if it is no JSON."""
    return _member(from_json(content), "id")


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
