"""The proof that a volume can do what jobs need of it: each step is done once, with files that are removed again."""

from __future__ import annotations

import errno
import os
from typing import Final

from img_contract.errors import StoreUnavailable
from img_contract.job.job import new_job_id
from img_contract.volume.files import (
    create_exclusively,
    fsync_directory,
    make_empty,
    modified_ns,
    remove,
    rename,
    storage_faults,
    write_new,
)
from img_contract.volume.layout import Layout

PROBE: Final = ".probe-"
"""What the names of all that is made here begin with; `Cleanup` removes what a process that died has left."""


def prove(layout: Layout) -> int:
    """Prove that the volume does what jobs need; return the present by its own clock, in nanoseconds since the epoch.

    Marks of engines are compared with that, never with this machine's clock. Raises StoreError, which says what the
    volume cannot do.
    """
    name = f"{PROBE}{new_job_id()}"
    folder, moved = layout.incoming / name, layout.jobs / name
    try:
        with storage_faults("make a folder", folder):
            folder.mkdir()
        with storage_faults("write and flush a file", folder):
            write_new(folder / "file", b"", durable=True)
        with storage_faults("touch a file", folder / "file"):
            os.utime(folder / "file", follow_symlinks=False)
            present = modified_ns(folder / "file")
        with storage_faults("touch a folder", layout.incoming):
            layout.present_ns()
        with storage_faults("make a hard link and flush a folder", folder):
            if not create_exclusively(folder / "link", b"", durable=True) or create_exclusively(
                folder / "link", b"", durable=False
            ):
                raise StoreUnavailable(f"cannot link exclusively: {folder}: a link replaced a file")
        with storage_faults("rename a folder", folder):
            rename(folder, moved)
        with storage_faults("flush a folder", layout.jobs):
            fsync_directory(layout.jobs)
        for other in (layout.pending, layout.idempotency, layout.engines, layout.metrics):
            with storage_faults("create and remove a file", other):
                make_empty(other / name)
                (other / name).unlink()
        with storage_faults("write to a folder of jobs", layout.jobs), os.scandir(layout.jobs) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not os.access(entry, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), entry.path)
    finally:
        with storage_faults("remove a folder", folder):
            for left in (folder, moved):
                remove(left)
    return present
