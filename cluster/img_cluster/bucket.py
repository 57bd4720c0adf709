"""The operations on an object store on which the promises to jobs rest. Nothing else knows obstore.

The store has to be strongly consistent, and `create` has to be exclusive; `proof` tells whether it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, BinaryIO, Final

import obstore
from img_contract.cluster_config import StoreConfig
from img_contract.errors import StoreFull, StoreUnavailable
from img_contract.failpoints import failpoint
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import MemoryStore, S3Store

from img_cluster.stored_file import StoredFile

PAGE: Final = 1000
"""Objects that one request lists at most."""

_CLOCK_SECONDS: Final = 60.0
"""The store's clock is read this often; in between, ours counts."""

_RESEND_SECONDS: Final = 2.0
"""A creation that fails sooner is sent again: its answer was lost. One that takes longer, obstore has repeated."""

_FULL: Final = ("StorageFull", "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity")
"""What stores call it when they have no room."""

_LONGEST_REASON: Final = 300


@dataclass(frozen=True)
class Entry:
    """One object, as a listing tells of it."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, by the store's clock; whole ones with most stores."""


@contextmanager
def store_faults(step: str, key: str) -> Iterator[None]:
    """Turn an error of the store into a StoreError. `step` completes "cannot". FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError, ValueError) as error:
        text = str(error)
        kind = StoreFull if any(name in text for name in _FULL) else StoreUnavailable
        raise kind(f"cannot {step}: {key}: {_brief(text)}") from None  # obstore's own trace has pages of it


class Bucket:
    """The objects under one prefix of one bucket. Every method raises StoreError. Thread-safe."""

    def __init__(self, store: S3Store | MemoryStore, name: str) -> None:
        self.name = name
        """For messages."""
        self._store = store
        self._clock_read_at = float("-inf")
        self._clock_offset = 0.0

    def create(self, key: str, data: bytes) -> bool:
        """Create an object; False if there is one of that name. This is the exclusive step.

        A creation whose answer was lost is sent again, and finds its own object: the same bytes count as created. So
        what two may want to create must differ between them.
        """
        since = time.monotonic()
        with store_faults("create an object", key):
            failpoint("storage.write")
            try:
                try:
                    obstore.put(self._store, key, data, mode="create", use_multipart=False)
                except (
                    GenericError
                ):  # obstore repeats what does no harm the second time, and does not know that of this
                    if time.monotonic() - since > _RESEND_SECONDS:
                        raise
                    obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return self.read(key) == data
            except FileNotFoundError:
                raise self._no_bucket(key) from None
        return True

    def put(self, key: str, data: bytes | IO[bytes] | Path) -> None:
        """Write an object, in place of one that may be there."""
        with store_faults("write an object", key):
            failpoint("storage.write")
            try:
                obstore.put(self._store, key, data)
            except FileNotFoundError:
                raise self._no_bucket(key) from None

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object; None if there is none."""
        with store_faults("read an object", key):
            try:
                return obstore.get(self._store, key).bytes().to_bytes()
            except FileNotFoundError:
                return None

    def open(self, key: str) -> StoredFile | None:
        """Open an object for reading, from anywhere in it; None if there is none."""
        with store_faults("read an object", key):
            try:
                return StoredFile(self._store, key)
            except FileNotFoundError:
                return None

    def fetch(self, key: str, file: BinaryIO) -> bool:
        """Copy an object to an open file; False if there is none. The file's own OSErrors pass."""
        with store_faults("read an object", key):
            try:
                chunks = iter(obstore.get(self._store, key).stream())
            except FileNotFoundError:
                return False
        while True:
            with store_faults("read an object", key):
                chunk = next(chunks, None)
            if chunk is None:
                return True
            file.write(chunk)

    def exists(self, key: str) -> bool:
        """Return whether there is such an object."""
        with store_faults("look for an object", key):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
        return True

    def names(self, folder: str, most: int = PAGE, after: str | None = None) -> dict[str, Entry]:
        """List the objects of a folder, by name, without the folder's own; those that come after a name."""
        found: dict[str, Entry] = {}
        offset = f"{folder}/{after}" if after else None
        with store_faults("list objects", folder):
            for chunk in obstore.list(self._store, folder, offset=offset, chunk_size=min(PAGE, most)):
                for meta in chunk:
                    name = meta["path"].removeprefix(f"{folder}/")
                    found[name] = Entry(meta["size"], meta["last_modified"].timestamp())
                if len(found) >= most:
                    break
        return dict(sorted(found.items())[:most])

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there do not matter."""
        listed = list(keys)
        if not listed:
            return
        with store_faults("remove objects", listed[0]):
            try:
                obstore.delete(self._store, listed if len(listed) > 1 else listed[0])
            except FileNotFoundError:
                for key in listed if len(listed) > 1 else ():
                    self.delete([key])

    def link(self, key: str, seconds: float) -> str | None:
        """Return an address at which anyone can read the object for so long; None if the store has no such thing."""
        if isinstance(self._store, MemoryStore):
            return None
        with store_faults("sign a link", key):
            return obstore.sign(self._store, "GET", key, timedelta(seconds=seconds))

    def now(self) -> float:
        """Return the present by the store's clock, in seconds since the epoch: what its times are compared with."""
        present = time.monotonic()
        if present - self._clock_read_at >= _CLOCK_SECONDS:
            key = "clock"
            self.put(key, b"")
            with store_faults("read the store's clock", key):
                self._clock_offset = obstore.head(self._store, key)["last_modified"].timestamp() - present
            self._clock_read_at = present
        return present + self._clock_offset

    def _no_bucket(self, key: str) -> StoreUnavailable:
        return StoreUnavailable(f"cannot write an object: {key}: there is no bucket {self.name}")


def open_bucket(config: StoreConfig) -> Bucket:
    """Open the bucket that the configuration names. Nothing is sent yet. Raises StoreError."""
    seconds = timedelta(seconds=config.timeout_seconds)
    secret = config.secret_key.get_secret_value() if config.secret_key else None
    options = {
        "endpoint": config.endpoint,
        "access_key_id": config.access_key,
        "secret_access_key": secret,
    }
    with store_faults("open the store", config.bucket):
        store = S3Store(
            config.bucket,
            prefix=config.prefix or None,
            region=config.region,
            virtual_hosted_style_request=not config.path_style,
            client_options={
                "allow_http": bool(config.endpoint and config.endpoint.startswith("http://")),
                "timeout": seconds,
                "connect_timeout": timedelta(seconds=min(5.0, config.timeout_seconds)),
            },
            retry_config={"max_retries": 5, "retry_timeout": seconds},
            **{name: value for name, value in options.items() if value is not None},  # type: ignore[arg-type]
        )
    return Bucket(store, config.bucket)


def _brief(text: str) -> str:
    """Return a reason in one line: obstore adds the whole answer, and what led to it."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
