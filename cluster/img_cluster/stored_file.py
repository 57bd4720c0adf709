"""A file over an object: read from where it is asked, without fetching the rest."""

from __future__ import annotations

import io
from typing import Final

import obstore
from img_contract.errors import StoreUnavailable
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, S3Store

_CHUNK: Final = 256 * 1024


class StoredFile(io.RawIOBase):
    """One object, to be read in one go from any place. Opening it raises FileNotFoundError and what obstore raises."""

    def __init__(self, store: S3Store | MemoryStore, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._got: obstore.GetResult | None = obstore.get(store, key)  # its body comes only when it is read
        self.size: int = self._got.meta["size"]
        self._at = 0
        self._stream: obstore.BytesStream | None = None
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence] + offset
        if target != self._at:
            self._at, self._got, self._stream, self._chunk = target, None, None, memoryview(b"")
        return target

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._chunk and self._at < self.size:
            self._chunk = memoryview(self._next())
        count = min(len(buffer), len(self._chunk))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self._at += count
        return count

    def _next(self) -> bytes:
        try:
            if self._stream is None:
                got = self._got or obstore.get(self._store, self._key, options={"range": {"offset": self._at}})
                self._got, self._stream = None, iter(got.stream(min_chunk_size=_CHUNK))
            return bytes(next(self._stream, b""))
        except (BaseError, OSError) as error:
            raise StoreUnavailable(f"cannot read an object: {self._key}: {str(error)[:300]}") from None
