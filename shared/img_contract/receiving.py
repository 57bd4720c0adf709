"""What every backend knows of an upload that it receives: its first bytes, its digest, and which keys are in use."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field

from img_contract.errors import SubmissionUnderWay
from img_contract.job.formats import SIGNATURE_BYTES
from img_contract.job.job import JOB_ID, Source, describe_source
from img_contract.ports import IdempotencyKey


class ReceivedFile:
    """One file of an upload, as far as its bytes have come; where they are kept is the backend's."""

    def __init__(self, *, digested: bool) -> None:
        self._head = b""
        self._digest = hashlib.sha256() if digested else None
        self.received = 0

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, hexadecimal, if it was to be digested."""
        return self._digest.hexdigest() if self._digest else ""

    def described(self, filename: str | None) -> Source:
        """Describe it by its first bytes. Raises ValueError if they are not a picture's."""
        return describe_source(self._head, self.received, filename)

    def _count(self, chunk: bytes) -> None:
        """Take note of bytes that were written."""
        self._head += chunk[: SIGNATURE_BYTES - len(self._head)]
        self.received += len(chunk)
        if self._digest:
            self._digest.update(chunk)


class KeyUse(BaseModel):
    """The use of an Idempotency-Key."""

    model_config = ConfigDict(frozen=True)
    job: str = Field(pattern=f"^{JOB_ID.pattern}$")
    content: str
    """SHA-256 of what was sent, hexadecimal; see `job.content_digest`."""


class HeldKeys:
    """The Idempotency-Keys whose requests this process is receiving. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    @contextmanager
    def held(self, key: IdempotencyKey) -> Iterator[None]:
        """Keep other requests of this process with this key out. Raises SubmissionUnderWay."""
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
