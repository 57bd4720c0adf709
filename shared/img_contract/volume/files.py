"""File operations on which the volume's promises rest. POSIX; a power cut may come between any two calls."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from img_contract.errors import DamagedRecord, StoreFull, StoreUnavailable
from img_contract.failpoints import failpoint
from img_contract.regular_file import NotARegularFile, open_regular

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NO_FOLDER: Final = {errno.ELOOP, errno.ENOTDIR}

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_NOT_ALLOWED: Final = {errno.EACCES, errno.EPERM}

_MOST_RECORD_BYTES: Final = 1024 * 1024
"""job.json and outcome.json have a few KiB."""


@contextmanager
def storage_faults(step: str, path: Path, *, missing_passes: bool = False) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says what could not be done, where, why, and what helps.

    `step` completes "cannot"; `path` is where, unless the system says it more exactly. `missing_passes` lets
    FileNotFoundError through, where a missing file has a meaning of its own.
    """
    try:
        yield
    except OSError as error:
        if missing_passes and isinstance(error, FileNotFoundError):
            raise
        kind = StoreFull if error.errno in _FULL else StoreUnavailable
        where = " → ".join(str(name) for name in (error.filename or path, error.filename2) if name)
        reason = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'no errno')})"
        raise kind(f"cannot {step}: {where}: {reason}{_remedy(error, path)}") from error


def _remedy(error: OSError, path: Path) -> str:
    """Return what to do about an error of the volume, where that is known."""
    if error.filename2 and error.errno in _NO_LINKS:
        return "; the volume needs hard links, which FAT, exFAT, SMB and some network file systems do not have"
    if error.errno not in _NOT_ALLOWED:
        return ""
    ours = f"{os.geteuid()}:{os.getegid()}"
    named = [Path(str(name)) for name in (error.filename or path, error.filename2) if name]
    there = [next((one for one in (name, *name.parents) if os.path.exists(one)), path) for name in named]
    nearest = next((one for one in there if not os.access(one, os.W_OK)), there[0])
    try:
        found = nearest.stat()
    except OSError:
        return f"; this process is {ours}"
    return (
        f"; this process is {ours}, and {nearest} belongs to {found.st_uid}:{found.st_gid} with mode "
        f"{stat.S_IMODE(found.st_mode):04o}: run both services as its owner, or chown -R {ours} the volume"
    )


def fsync(descriptor: int) -> None:
    """Flush a file."""
    failpoint("storage.fsync")
    os.fsync(descriptor)


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder, in one step."""
    failpoint("storage.rename")
    os.rename(old, new)


def link(old: Path, new: Path) -> None:
    """Give a file a second name. Raises FileExistsError: it never replaces."""
    failpoint("storage.rename")
    os.link(old, new)


def make_empty(path: Path) -> None:
    """Create an empty file; one that is there stays as it is, its time included."""
    failpoint("storage.write")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))


def fsync_directory(path: Path) -> None:
    """Flush the names in a directory: without it a power cut may undo a rename or a create."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and flush its content. The caller flushes the directory."""
    failpoint("storage.write")
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        fsync(file.fileno())


def create_exclusively(path: Path, data: bytes, *, durable: bool) -> bool:
    """Create a file that is complete from its first moment; False if the name is taken already.

    A link is the exclusive step: it never replaces, and what it links is whole. `durable` flushes content and name.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        failpoint("storage.write")
        with open(draft, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                fsync(file.fileno())
        try:
            link(draft, path)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        fsync_directory(path.parent)
    return True


def read_record(path: Path, most: int = _MOST_RECORD_BYTES) -> bytes:
    """Read a whole record. A link is not followed, and a pipe not waited for.

    Raises DamagedRecord if it is no regular file or too large; FileNotFoundError if there is nothing; OSError.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise DamagedRecord(f"{path.name} has more than {most} bytes")
            return file.read(size)
    except NotARegularFile:
        raise DamagedRecord(f"{path.name} is no regular file") from None


def names_in(folder: Path | str) -> list[str]:
    """List the names in a folder. Raises FileNotFoundError if it is missing, a link or no folder; OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise FileNotFoundError(errno.ENOENT, "no folder") from None
        raise
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove whatever is there, if anything is. Links are not followed."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # POSIX leaves it open which of them a folder gives
        if not path.is_dir():
            raise
        shutil.rmtree(path, ignore_errors=True)


def modified_ns(path: Path) -> int:
    """Return when a file was last modified, in nanoseconds since the epoch; 0 if it is gone. Follows no links."""
    try:
        return path.lstat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
