"""Records of the jobs that were made under Idempotency-Keys, so that a repeated request makes no second job.

    idempotency/<digest>     the job's id and the digest of its content; <digest> is of the client and its key

A record is written before its job exists. If the process dies between the two, the record leads to no job, and counts
as none. This process keeps two requests with one key apart while both are under way: there is one img-rest on a volume.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from img_contract.errors import DamagedRecord, SubmissionUnderWay
from img_contract.job.job import JOB_ID
from img_contract.ports import IdempotencyKey
from img_contract.records import as_json
from img_contract.volume.files import fsync_directory, read_record, rename, write_durably


class Use(BaseModel):
    """The use of a key."""

    model_config = ConfigDict(frozen=True)
    job: str = Field(pattern=f"^{JOB_ID.pattern}$")
    content: str
    """SHA-256 of what was sent, hexadecimal; see `job.content_digest`."""


class IdempotencyKeys:
    """The records of one volume."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    @contextmanager
    def held(self, key: IdempotencyKey) -> Iterator[None]:
        """Keep other requests with this key out. Raises SubmissionUnderWay."""
        digest = key.digest
        with self._lock:
            if digest in self._under_way:
                raise SubmissionUnderWay
            self._under_way.add(digest)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(digest)

    def use_of(self, key: IdempotencyKey) -> Use | None:
        """Return what the key was used for; None if it is new. Raises OSError."""
        return _read_use(self._folder / key.digest)

    def record(self, key: IdempotencyKey, use: Use) -> None:
        """Record durably what the key is used for. Raises OSError."""
        target = self._folder / key.digest
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            write_durably(draft, as_json(use))
            rename(draft, target)  # in place of one that leads to no job any more
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        fsync_directory(self._folder)


def recorded_job(path: Path) -> str | None:
    """Return the id of the job that a record leads to; None if the record is damaged. Raises OSError."""
    use = _read_use(path)
    return use.job if use else None


def _read_use(path: Path) -> Use | None:
    try:
        return Use.model_validate_json(read_record(path))
    except (FileNotFoundError, DamagedRecord, ValidationError):
        return None
