"""Opening what is expected to be a regular file: a link is not followed, and a pipe is not waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""What open(2) says of a symbolic link that is not to be followed, of a socket and of a folder."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; its `name` is the path.

    Raises FileNotFoundError also for anything else that has this name: nothing of ours was ever stored as a symbolic
    link, a pipe or a device. Any other OSError is the disk's.
    """
    return open(path, "rb", opener=_open)


def _open(path: str, _: int) -> int:
    try:
        # Without O_NONBLOCK, a pipe would wait for its writer; on a regular file it has no effect.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _missing(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _missing(path)
    return descriptor


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "expected a regular file", path)
