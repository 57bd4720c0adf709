"""Keeping the volume clean: expired jobs, broken submissions, lost markers. Many engines may do it at once."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

from .durable import fsync_directory
from .job import JOB_ID

LEFTOVER_SECONDS: Final = 3600.0
"""A submission that nobody has written to for this long is not going to be finished."""

ADOPTION_SECONDS: Final = 60.0
"""A job that has neither outcome nor marker for this long lost its marker: img-rest died before it made it."""

_SHARDS: Final = 256


class Upkeep:
    """Goes round the volume, a 256th of the jobs at a time, so that no call takes long."""

    def __init__(self, root: Path, retention_seconds: float) -> None:
        self._root = root
        self._retention = retention_seconds
        self._shard = 0

    def portion(self) -> None:
        """Clean `incoming/` and one shard of `jobs/`."""
        present = time.time()
        if self._shard == 0:
            self._clear_incoming(present)
            self._clear_orphaned_markers(present)
            self._clear_engines(present)
        self._visit_shard(self._root / "jobs" / f"{self._shard:02x}", present)
        self._shard = (self._shard + 1) % _SHARDS

    def round(self) -> None:
        """The whole volume once."""
        self._shard = 0
        for _ in range(_SHARDS):
            self.portion()

    def _clear_incoming(self, present: float) -> None:
        for entry in os.scandir(self._root / "incoming"):
            touched = max(_mtime(Path(entry.path)), _mtime(Path(entry.path, "source")))
            if present - touched > LEFTOVER_SECONDS:
                _remove(Path(entry.path))

    def _clear_orphaned_markers(self, present: float) -> None:
        for entry in os.scandir(self._root / "pending"):
            job = self._root / "jobs" / entry.name[:2] / entry.name
            if not job.exists() and present - _mtime(Path(entry.path)) > LEFTOVER_SECONDS:
                _remove(Path(entry.path))

    def _clear_engines(self, present: float) -> None:
        for entry in os.scandir(self._root / "engines"):
            if present - _mtime(Path(entry.path)) > LEFTOVER_SECONDS:
                _remove(Path(entry.path))

    def _visit_shard(self, shard: Path, present: float) -> None:
        try:
            names = os.listdir(shard)
        except FileNotFoundError:
            return
        for name in filter(JOB_ID.fullmatch, names):
            ended = _mtime(shard / name / "outcome.json")
            if ended:
                if present - ended > self._retention:
                    self._expire(shard / name)
            elif present - _mtime(shard / name) > ADOPTION_SECONDS:
                self._adopt(name)

    def _expire(self, job: Path) -> None:
        # Out of sight in one step: a job that lost half of its files would look like one that is queued.
        leaving = self._root / "incoming" / f"{job.name}.expired"
        try:
            os.rename(job, leaving)
        except FileNotFoundError:
            return  # another engine was faster
        _remove(leaving)

    def _adopt(self, name: str) -> None:
        marker = self._root / "pending" / name
        if not marker.exists():
            marker.touch()
            fsync_directory(marker.parent)


def _mtime(path: Path) -> float:
    """Seconds since the epoch; 0 if it is gone."""
    try:
        return path.lstat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
