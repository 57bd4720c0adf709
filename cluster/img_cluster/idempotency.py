"""Idempotency-Keys over any number of img-rest: a record is created exclusively, so of two requests at once one wins.

    idempotency/<digest>/<n>   the job's id and the digest of its content

A record is written before its job exists. One that leads to no job after a minute counts as none, and the next number
is taken: no object is ever replaced, as not every store can do that conditionally.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from img_contract.errors import StoreError, SubmissionUnderWay
from img_contract.ports import IdempotencyKey
from img_contract.receiving import HeldKeys, KeyUse
from pydantic import ValidationError

from img_cluster.bucket import Bucket
from img_cluster.objects import IDEMPOTENCY, JobsStore

UNDER_WAY_SECONDS: Final = 60.0
"""The job of a record that is older than this, and is not there, will not come."""


@dataclass(frozen=True)
class Found:
    """The newest record of a key."""

    number: int
    use: KeyUse | None
    """None if there is no record, or it leads to no job."""


class IdempotencyKeys(HeldKeys):
    """The records of one store. Every method raises StoreError."""

    def __init__(self, store: JobsStore) -> None:
        super().__init__()
        self._store = store

    def find(self, key: IdempotencyKey) -> Found:
        """Return what the key was used for. Raises SubmissionUnderWay if its job may be about to come."""
        folder = f"{IDEMPOTENCY}/{key.digest}"
        names = self._store.bucket.names(folder)
        number = max((int(name) for name in names if name.isdigit()), default=0)
        use = read_use(self._store.bucket, f"{folder}/{number}") if number else None
        if use is None or self._store.bucket.exists(f"{self._store.folder(use.job)}/job.json"):
            return Found(number, use)
        if self._store.bucket.now() - names[str(number)].modified < UNDER_WAY_SECONDS:
            raise SubmissionUnderWay
        return Found(number, None)

    def record(self, key: IdempotencyKey, after: Found, use: KeyUse) -> str:
        """Record what a key is used for; return the object's name. Raises SubmissionUnderWay if another was faster."""
        name = f"{IDEMPOTENCY}/{key.digest}/{after.number + 1}"
        content = use.model_dump_json().encode()
        try:
            created = self._store.bucket.create(name, content)
        except StoreError:
            with suppress(StoreError):  # it may be there all the same, and the client will send its request again
                if self._store.bucket.read(name) == content:
                    self._store.bucket.delete([name])
            raise
        if not created:
            raise SubmissionUnderWay
        return name


def read_use(bucket: Bucket, name: str) -> KeyUse | None:
    """Read a record; None if it is damaged or gone."""
    content = bucket.read(name)
    try:
        return KeyUse.model_validate_json(content) if content is not None else None
    except ValidationError:
        return None
