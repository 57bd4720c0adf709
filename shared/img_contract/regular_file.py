"""Opening a file only if it is a regular one: nothing on the volume makes a process read elsewhere, or wait."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO})
"""What open(2) says of a symbolic link that is not to be followed, and of a socket."""


class NotARegularFile(FileNotFoundError):
    """What is there is a link, a folder, a pipe, a socket or a device: none of which was ever stored."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Never follows a link at the end of the path, never waits.

    Raises NotARegularFile, FileNotFoundError; another OSError is the disk's.
    """
    return open(path, "rb", opener=_regular)


def _regular(path: str, flags: int) -> int:
    try:
        # Without O_NONBLOCK, a pipe would wait for its writer; on a regular file it has no effect.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotARegularFile(errno.ENOENT, "expected a regular file", path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotARegularFile(errno.ENOENT, "expected a regular file", path)
    return descriptor
