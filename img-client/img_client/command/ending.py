"""What came of one file: the line that `--json` prints, and what the report counts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from img_contract.job.outcome import ResultWarning
from pydantic import BaseModel, Field, PlainSerializer, SkipValidation

# A file name that is not UTF-8 has lone surrogates, which are neither valid text nor JSON.
_Named = Annotated[
    str, SkipValidation, PlainSerializer(lambda text: text.encode(errors="backslashreplace").decode(), return_type=str)
]


class State(StrEnum):
    """The ends of a file."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    PLANNED = "planned"


class Made(BaseModel):
    """A file that was made."""

    path: _Named | None = Field(description="None: it went to stdout.")
    name: str
    media_type: str
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    bytes: int


class Ending(BaseModel):
    """What came of one file."""

    file: _Named
    state: State
    code: str | None = Field(None, description="Why it failed; docs/errors.md has the service's codes.")
    detail: _Named | None = None
    job: str | None = Field(None, description="The job's guid.")
    seconds: float | None = None
    bytes: int | None = Field(None, description="Size of the file.")
    outputs: list[Made] = []
    warnings: list[ResultWarning] = []
    targets: list[_Named] = Field(
        [], description="Where results would go, or are; * where the suffix is not known yet."
    )
