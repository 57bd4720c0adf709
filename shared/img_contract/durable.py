"""The few file operations that the volume's promises are made of. POSIX; a power cut may come between any two calls."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from .errors import StoreFull, StoreUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def storage_faults(*, missing_passes: bool = False) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError.

    `missing_passes` lets FileNotFoundError through, where a missing file has a meaning of its own.
    """
    try:
        yield
    except OSError as error:
        if missing_passes and isinstance(error, FileNotFoundError):
            raise
        kind = StoreFull if error.errno in _FULL else StoreUnavailable
        raise kind(f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'no errno')})") from error


def fsync_directory(path: Path) -> None:
    """Flush the names in a directory: without it a power cut may undo a rename or a create."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and flush its content. The caller flushes the directory."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def create_exclusively(path: Path, data: bytes, *, durable: bool) -> bool:
    """Create a file that is complete from its first moment; False if the name is taken already.

    A link is the exclusive step: it never replaces, and what it links is whole. `durable` flushes content and name.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        fsync_directory(path.parent)
    return True


def read_file(path: Path) -> bytes:
    """Read a whole regular file; a symbolic link is never followed (ELOOP). Raises FileNotFoundError, OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def modified_ns(path: Path) -> int:
    """When a file was last modified, in nanoseconds since the epoch; 0 if it is gone. Links are not followed."""
    try:
        return path.lstat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def record(model: BaseModel) -> bytes:
    """A model as it is written to a file: JSON that a person can read."""
    return model.model_dump_json(indent=1).encode() + b"\n"
