"""Opening a file only if it is a regular one: nothing on the volume makes a process read elsewhere, or wait."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Final

StrPath = str | os.PathLike[str]
"""A path. A text is built and used several times faster than a Path, where that happens for each job."""

_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO})
"""What open(2) says of a symbolic link that is not to be followed, and of a socket."""


class NotARegularFile(FileNotFoundError):
    """What is there is a link, a folder, a pipe, a socket or a device: none of which was ever stored."""


def open_regular(path: StrPath) -> BinaryIO:
    """Open a regular file for reading. Never follows a link at the end of the path, never waits.

    Raises NotARegularFile, FileNotFoundError; another OSError is the disk's.
    """
    return open(path, "rb", opener=_opened)


def open_descriptor(path: StrPath, flags: int = os.O_RDONLY) -> tuple[int, int]:
    """Open a regular file as `open_regular` does, without a file object. Returns its descriptor and its size in bytes.

    Raises what that raises.
    """
    try:
        # Without O_NONBLOCK, a pipe would wait for its writer; on a regular file it has no effect.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotARegularFile(errno.ENOENT, "expected a regular file", path) from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotARegularFile(errno.ENOENT, "expected a regular file", path)
    return descriptor, found.st_size


def _opened(path: str, flags: int) -> int:
    return open_descriptor(path, flags)[0]
