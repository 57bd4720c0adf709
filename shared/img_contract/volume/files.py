"""File operations on which the volume's promises rest. POSIX; a power cut may come between any two calls."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from img_contract.errors import DamagedRecord, StoreFull, StoreUnavailable
from img_contract.failpoints import failpoint
from img_contract.regular_file import NotARegularFile, StrPath, open_descriptor

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NO_FOLDER: Final = {errno.ELOOP, errno.ENOTDIR}

_NOT_SUPPORTED: Final = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_LINKS: Final = {*_NOT_SUPPORTED, errno.EPERM, errno.EMLINK}
_NO_FLUSH: Final = {*_NOT_SUPPORTED, errno.EINVAL}
_NOT_ALLOWED: Final = {errno.EACCES, errno.EPERM}

_MOST_RECORD_BYTES: Final = 1024 * 1024
"""job.json and outcome.json have a few KiB."""


class storage_faults:  # noqa: N801  used like a function
    """Turns an OSError of the block into a StoreError that says what could not be done, where, why, and what helps.

    `step` completes "cannot"; `path` is where, unless the system says it more exactly. `missing_passes` lets
    FileNotFoundError through, where a missing file has a meaning of its own. It is entered a dozen times for a job, and
    so no generator.
    """

    __slots__ = ("_missing_passes", "_path", "_step")

    def __init__(self, step: str, path: StrPath, *, missing_passes: bool = False) -> None:
        self._step = step
        self._path = path
        self._missing_passes = missing_passes

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError) or (self._missing_passes and isinstance(error, FileNotFoundError)):
            return
        raised = StoreFull if error.errno in _FULL else StoreUnavailable
        where = " → ".join(str(name) for name in (error.filename or self._path, error.filename2) if name)
        reason = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'no errno')})"
        raise raised(f"cannot {self._step}: {where}: {reason}{_remedy(error, Path(self._path))}") from error


def _remedy(error: OSError, path: Path) -> str:
    """Return what to do about an error of the volume, where that is known."""
    if error.errno == errno.EXDEV:
        return "; all folders of the volume have to be on one file system: mount the volume as a whole, not its folders"
    if error.errno == errno.EROFS:
        return "; the volume is mounted read-only, or was made so after an error of its disk"
    if error.filename2 and error.errno in _NO_LINKS:
        return "; the volume needs hard links, which FAT, exFAT, SMB and some network file systems do not have"
    if not error.filename and error.errno in _NO_FLUSH:
        return "; the volume needs fsync of files and folders, which some FUSE and network file systems do not have"
    return _whose(error, path) if error.errno in _NOT_ALLOWED else ""


def _whose(error: OSError, path: Path) -> str:
    ours = f"{os.geteuid()}:{os.getegid()}"
    named = [Path(str(name)) for name in (error.filename or path, error.filename2) if name]
    there = [next((one for one in (name, *name.parents) if os.path.exists(one)), path) for name in named]
    refused = next((one for one in there if not os.access(one, os.W_OK)), None)
    try:
        found = (refused or there[0]).stat()
    except OSError:
        return f"; this process is {ours}"
    told = (
        f"; this process is {ours}, and {refused or there[0]} belongs to {found.st_uid}:{found.st_gid} with mode "
        f"{stat.S_IMODE(found.st_mode):04o}: "
    )
    if found.st_uid != os.geteuid() and found.st_gid in {os.getegid(), *os.getgroups()}:
        return f"{told}run both services as its owner, or let their group write: chmod -R g+rwX the volume"
    if found.st_uid != os.geteuid():
        return f"{told}run both services as its owner, or chown -R {ours} the volume"
    if refused:
        return f"{told}chmod -R u+rwX the volume"
    return f"{told}its file system, how that is mounted, or a security profile does not allow it"


def fsync(descriptor: int) -> None:
    """Flush a file."""
    failpoint("storage.fsync")
    os.fsync(descriptor)


def rename(old: StrPath, new: StrPath) -> None:
    """Rename a file or folder, in one step."""
    failpoint("storage.rename")
    os.rename(old, new)


def link(old: StrPath, new: StrPath) -> None:
    """Give a file a second name. Raises FileExistsError: it never replaces."""
    failpoint("storage.rename")
    os.link(old, new)


def make_empty(path: StrPath) -> None:
    """Create an empty file; one that is there stays as it is, its time included."""
    failpoint("storage.write")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666))


def fsync_directory(path: StrPath) -> None:
    """Flush the names in a directory: without it a power cut may undo a rename or a create."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: StrPath, data: bytes, *, durable: bool) -> None:
    """Write a new file. `durable` flushes its content; the caller flushes the directory. Raises FileExistsError."""
    failpoint("storage.write")
    write_and_close(open_new(path), data, durable=durable)


def open_new(path: StrPath) -> int:
    """Create a file and return its descriptor: a file object would ask the system four things more about it.

    Raises FileExistsError.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def write_and_close(descriptor: int, data: bytes, *, durable: bool) -> None:
    """Write all of a new file, flush it if it is to be durable, and close it in any case."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            fsync(descriptor)
    finally:
        os.close(descriptor)


def create_exclusively(path: StrPath, data: bytes, *, durable: bool) -> bool:
    """Create a file that is complete from its first moment; False if the name is taken already.

    A link is the exclusive step: it never replaces, and what it links is whole. `durable` flushes content and name.
    """
    folder, name = os.path.split(path)
    draft = f"{folder}/.{name}.{secrets.token_hex(4)}"
    try:
        write_new(draft, data, durable=durable)
        try:
            link(draft, path)
        except FileExistsError:
            return False
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
    if durable:
        fsync_directory(folder)
    return True


def read_record(path: StrPath, most: int = _MOST_RECORD_BYTES) -> bytes:
    """Read a whole record. A link is not followed, and a pipe not waited for.

    Raises DamagedRecord if it is no regular file or too large; FileNotFoundError if there is nothing; OSError.
    """
    try:
        descriptor, size = open_descriptor(path)
    except NotARegularFile:
        raise DamagedRecord(f"{os.path.basename(path)} is no regular file") from None
    try:
        if size > most:
            raise DamagedRecord(f"{os.path.basename(path)} has more than {most} bytes")
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def names_in(folder: StrPath) -> list[str]:
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


def remove(path: StrPath) -> None:
    """Remove whatever is there, if anything is. Links are not followed."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # POSIX leaves it open which of them a folder gives
        if not os.path.isdir(path):
            raise
        shutil.rmtree(path, ignore_errors=True)


def modified_ns(path: StrPath) -> int:
    """Return when a file was last modified, in nanoseconds since the epoch; 0 if it is gone. Follows no links."""
    try:
        return os.lstat(path).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
