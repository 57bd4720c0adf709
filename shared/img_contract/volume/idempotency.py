"""Which job was made under which Idempotency-Key, so that a request that is sent again makes no second one.

    idempotency/<digest>     the job's id and the digest of what was sent; <digest> is of the client and its key

A note is written before its job exists. If the process dies between the two, the note leads to no job, and counts as
none. That two requests with one key are not under way at once is seen to in the process: there is one img-rest.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from img_contract.errors import DamagedRecord, SubmissionUnderWay
from img_contract.volume.files import fsync_directory, read_record, record, rename, write_durably


@dataclass(frozen=True)
class Key:
    """A client's name for a request, which may be sent again."""

    value: str
    owner: str | None = None
    """Name of the API key that it came with: keys of two clients are two, however they read."""

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal: a name for a file whatever the client wrote."""
        return hashlib.sha256(f"{self.owner or ''}\0{self.value}".encode()).hexdigest()


class Use(BaseModel):
    """What a key was used for."""

    model_config = ConfigDict(frozen=True)
    job: str
    content: str
    """SHA-256 of what was sent, hexadecimal."""


class IdempotencyKeys:
    """The notes of one volume."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    @contextmanager
    def held(self, key: Key) -> Iterator[None]:
        """Keep other requests with this key out. Raises SubmissionUnderWay."""
        digest = key.digest
        with self._lock:
            if digest in self._under_way:
                raise SubmissionUnderWay("a request with this Idempotency-Key is under way; send it again in a while")
            self._under_way.add(digest)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(digest)

    def use_of(self, key: Key) -> Use | None:
        """What the key was used for; None if it is new. Raises OSError."""
        try:
            return Use.model_validate_json(read_record(self._folder / key.digest))
        except (FileNotFoundError, DamagedRecord, ValidationError):
            return None

    def note(self, key: Key, use: Use) -> None:
        """Write down, durably, what the key is used for. Raises OSError."""
        target = self._folder / key.digest
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            write_durably(draft, record(use))
            rename(draft, target)  # in place of one that leads to no job any more
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        fsync_directory(self._folder)


def job_noted(path: Path) -> str | None:
    """The job that a note leads to; None if it cannot be read."""
    try:
        return Use.model_validate_json(read_record(path)).job
    except (OSError, DamagedRecord, ValidationError):
        return None
