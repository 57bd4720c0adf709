"""What is written of a job beside its files, wherever they are kept, and how that is read again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from img_contract.errors import DamagedRecord, JobTooNew
from img_contract.job.job import Job, parse_message
from img_contract.job.newer import is_newer, job_id_in, outline, understood_outcome, with_a_reason
from img_contract.job.outcome import Failure, FailureCode, Outcome, State

_CLAIM: Final = re.compile(r"claim\.([1-9][0-9]*)")


class ClaimRecord(BaseModel):
    """The content of a claim: its holder, and when it started."""

    model_config = ConfigDict(frozen=True)
    engine: str
    started_at: AwareDatetime


def attempts_in(names: Iterable[str]) -> int:
    """Return how many attempts were started, from the names of a job's files."""
    return max((int(match[1]) for name in names if (match := _CLAIM.fullmatch(name))), default=0)


def parse_job(content: bytes, job_id: str) -> Job:
    """Parse job.json. Raises DamagedRecord, JobTooNew."""
    try:
        job = parse_message(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        reason = ": ".join(["job.json", *map(str, fault["loc"]), fault["msg"]])
        if is_newer(content) and job_id_in(content) == job_id:
            raise JobTooNew(reason, outline(content)) from None
        raise DamagedRecord(reason) from None
    if job.id != job_id:
        raise DamagedRecord(f"job.json is of job {job.id}")
    return job


def parse_outcome(content: bytes, written: datetime) -> Outcome:
    """Parse outcome.json, which was written at that time: what is understood of it, if a newer version wrote it.

    A damaged outcome is one, too: the job is not to be done again.
    """
    try:
        outcome = Outcome.model_validate_json(content)
    except ValidationError:
        return understood_outcome(content) or _damaged_outcome(written)
    return outcome if outcome.error or outcome.state is not State.FAILED else with_a_reason(outcome)


def _damaged_outcome(written: datetime) -> Outcome:
    failure = Failure(code=FailureCode.JOB_DAMAGED, detail="outcome.json is damaged, so the result is not known")
    return Outcome(state=State.FAILED, finished_at=written, error=failure)


def as_json(model: BaseModel) -> bytes:
    """Return a model as it is written to a file: JSON that a person can read."""
    return model.model_dump_json(indent=1).encode() + b"\n"
