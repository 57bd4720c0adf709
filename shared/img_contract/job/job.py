"""The job: one upload and what is to be done to it, as one frozen model.

From this declaration come the JSON message on the notifier, `job.json` on the volume, and the JSON Schema published in
docs/job.schema.json.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from img_contract.job.formats import MEDIA_TYPES, Format, sniff
from img_contract.job.frozen import Frozen
from img_contract.job.resize import Resize
from img_contract.job.values import WritableFormat

_PARSED: Final = 128
"""So many jobs are remembered, of a few KiB each."""

JOB_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Source(Frozen):
    """An uploaded picture, as the API saw it."""

    filename: str | None = Field(None, max_length=255, description="The name the client gave; never used as a path.")
    media_type: str = Field(description="Media type by the first bytes of the upload, e.g. image/jpeg.")
    format: Format = Field(description="Format by the first bytes of the upload.")
    bytes: int = Field(ge=0, description="Size of the upload in bytes.")


class Job(Frozen):
    """One picture to resize: the message on the notifier, and `job.json` on the volume."""

    version: Literal[1]
    id: str = Field(pattern=f"^{JOB_ID.pattern}$", description="Random UUID (version 4), lower case.")
    submitted_at: AwareDatetime = Field(description="When the upload was complete, UTC.")
    source: Source
    watermark: Source | None = Field(None, description="A second upload, to be put on the result.")
    accept: tuple[WritableFormat, ...] = Field(
        (), description="Formats that the client accepts; empty if it named none. For format=auto."
    )
    owner: str | None = Field(None, max_length=64, description="Name of the API key that it was sent with.")
    resize: Resize

    def message(self) -> bytes:
        """The job as JSON, one line; what has its default is left out, and need not be read again."""
        return self.model_dump_json(exclude_defaults=True).encode()


@lru_cache(_PARSED)
def parse_message(message: bytes) -> Job:
    """Parse a job from its JSON. Raises ValidationError.

    The last jobs are remembered: who is notified of a job reads the same bytes again from its record, and who follows
    one reads them each time that it asks. A job is never changed, so that it may be shared.
    """
    return Job.model_validate_json(message)


def describe_source(head: bytes, size: int, filename: str | None) -> Source:
    """Describe an upload of so many bytes by its first ones. Raises ValueError if they are not a picture's."""
    found = sniff(head)
    if found is None:
        raise ValueError("expected the first bytes of a picture, found others")
    return Source(filename=filename, media_type=MEDIA_TYPES[found], format=found, bytes=size)


def content_digest(job: Job, digests: Sequence[str]) -> str:
    """Return the SHA-256, hexadecimal, of all that decides a job's results: not the file's name, nor the time.

    `digests` are those of its files.
    """
    asked = [job.resize.model_dump_json(), ",".join(job.accept)]
    return hashlib.sha256("\0".join([*asked, *digests]).encode()).hexdigest()


def new_job_id() -> str:
    """A fresh id: a random UUID. Who knows it may read the result, so it must not be guessable."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)
