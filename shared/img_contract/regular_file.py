"""How an upload's file is opened: as a regular file where its path says, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO})
"""What open(2) says of a symbolic link that is not to be followed, and of a socket."""


def open_upload(path: Path) -> BinaryIO:
    """Open an upload for reading. Nothing on the volume makes a child read elsewhere, or wait.

    Raises FileNotFoundError also for what is no regular file: no upload was ever stored as a symbolic link, a pipe or a
    device. OSError is the volume's.
    """
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
    return os.fdopen(descriptor, "rb")


def _missing(path: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "expected a regular file", str(path))
