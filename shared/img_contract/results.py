"""Selecting one result of a job."""

from __future__ import annotations

from img_contract.errors import JobNotDone, UnknownResult
from img_contract.job.outcome import Output, State
from img_contract.job.status import JobStatus


def find_output(status: JobStatus, name: str | None = None) -> Output:
    """Return the first output of a job, or the one of that name. Raises JobNotDone, UnknownResult."""
    if status.outcome is None or status.state is not State.DONE:
        raise JobNotDone(status)
    outputs = status.outcome.outputs
    found = next((output for output in outputs if name in (None, output.name)), None)
    if found is None:
        raise UnknownResult([output.name for output in outputs])
    return found
