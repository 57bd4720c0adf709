"""Records of the jobs that were made under Idempotency-Keys, so that a repeated request makes no second job.

    idempotency/<digest>     the job's id and the digest of its content; <digest> is of the client and its key

A record is written before its job exists. If the process dies between the two, the record leads to no job, and counts
as none. This process keeps two requests with one key apart while both are under way: there is one img-rest on a volume.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import ValidationError

from img_contract.errors import DamagedRecord
from img_contract.ports import IdempotencyKey
from img_contract.receiving import HeldKeys, KeyUse
from img_contract.records import as_json
from img_contract.volume.files import fsync_directory, read_record, rename, write_new


class IdempotencyKeys(HeldKeys):
    """The records of one volume."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def use_of(self, key: IdempotencyKey) -> KeyUse | None:
        """Return what the key was used for; None if it is new. Raises OSError."""
        return _read_use(self._folder / key.digest)

    def record(self, key: IdempotencyKey, use: KeyUse) -> None:
        """Record durably what the key is used for. Raises OSError."""
        target = self._folder / key.digest
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            write_new(draft, as_json(use), durable=True)
            rename(draft, target)  # in place of one that leads to no job any more
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        fsync_directory(self._folder)


def recorded_job(path: Path) -> str | None:
    """Return the id of the job that a record leads to; None if the record is damaged. Raises OSError."""
    use = _read_use(path)
    return use.job if use else None


def _read_use(path: Path) -> KeyUse | None:
    try:
        return KeyUse.model_validate_json(read_record(path))
    except (FileNotFoundError, DamagedRecord, ValidationError):
        return None
