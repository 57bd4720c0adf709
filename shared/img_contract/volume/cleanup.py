"""Keeping the volume clean: expired jobs, broken submissions, lost markers. Many engines may do it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from img_contract.job.job import JOB_ID
from img_contract.volume.files import fsync_directory, make_empty, modified_ns, remove, rename
from img_contract.volume.idempotency import recorded_job
from img_contract.volume.journal_cleanup import JournalCleanup
from img_contract.volume.layout import Layout
from img_contract.volume.proof import PROBE

LEFTOVER_SECONDS: Final = 3600.0
"""A submission that nobody has written to for this long is not going to be finished."""

ADOPTION_SECONDS: Final = 60.0
"""A job that has neither outcome nor marker for this long lost its marker: img-rest died before it made it."""

SHARDS: Final = 256

KEYS_PER_BATCH: Final = 256
"""Number of Idempotency-Keys that are looked at with each shard."""

_T = TypeVar("_T")

ROUND: Final = 64
"""The other folders are cleaned each time that so many shards of `jobs/` were."""


class Cleanup:
    """Cleans the volume round after round, a 256th of the jobs at a time, so that no call takes long."""

    def __init__(self, layout: Layout, retention_seconds: float) -> None:
        self._layout = layout
        self._retention = retention_seconds
        self._shard = 0
        self._keys: list[str] = []
        self._journals = [JournalCleanup(layout, journal) for journal in (layout.recent_jobs, layout.ended_jobs)]

    def run_batch(self) -> None:
        """Clean one shard of `jobs/`, and now and then the other folders.

        What cannot be cleaned does not keep the rest from it; the first such OSError is raised at the end.
        """
        present = self._layout.present_ns() / 1e9
        shard, self._shard = self._shard, (self._shard + 1) % SHARDS
        faults = _each(_entries(self._layout.jobs / f"{shard:02x}"), lambda job: self._visit(job, present))
        faults += _each(self._next_keys(), lambda key: self._clear_key(key, present))
        faults += _each(
            self._journals, lambda journal: journal.run_batch(present - max(self._retention, LEFTOVER_SECONDS))
        )
        if shard % ROUND == 0:
            faults += _each(_entries(self._layout.incoming), lambda left: _clear_submission(left, present))
            faults += _each(list(self._layout.jobs.glob(f"{PROBE}*")), lambda left: _clear_submission(left, present))
            faults += _each(_entries(self._layout.pending), lambda marker: self._clear_marker(marker, present))
            for folder in (self._layout.engines, self._layout.metrics):
                faults += _each(_entries(folder), lambda engine: _clear_engine(engine, present))
        if faults:
            raise faults[0]

    def _visit(self, job: Path, present: float) -> None:
        if not JOB_ID.fullmatch(job.name) or job.parent.name != job.name[:2]:
            return  # not of our making, and where no other verb looks
        if job.is_symlink() or not job.is_dir():
            remove(job)  # not of our making
            return
        ended = _mtime(job / "outcome.json")
        if ended:
            if present - ended > self._retention:
                self._expire(job)
        elif present - _mtime(job) > ADOPTION_SECONDS:
            self._adopt(job)

    def _expire(self, job: Path) -> None:
        # Out of sight in one step: a job that lost half of its files would look like one that is queued.
        leaving = self._layout.incoming / f"{job.name}.expired"
        try:
            rename(job, leaving)
        except FileNotFoundError:
            return  # another engine was faster
        remove(leaving)

    def _adopt(self, job: Path) -> None:
        marker = self._layout.pending / job.name
        if not marker.exists():
            make_empty(marker)
            fsync_directory(marker.parent)

    def _clear_marker(self, marker: Path, present: float) -> None:
        if present - _mtime(marker) > LEFTOVER_SECONDS and not self._layout.exists(marker.name):
            remove(marker)

    def _next_keys(self) -> list[Path]:
        """Return the next batch of keys; there may be very many, and no call is to take long."""
        if not self._keys:
            with suppress(FileNotFoundError):
                self._keys = os.listdir(self._layout.idempotency)
        portion = self._keys[-KEYS_PER_BATCH:]
        del self._keys[-KEYS_PER_BATCH:]
        return [self._layout.idempotency / name for name in portion]

    def _clear_key(self, key: Path, present: float) -> None:
        # A key is recorded before its job exists, so a young one may have no job yet.
        if present - _mtime(key) <= LEFTOVER_SECONDS or self._layout.exists(recorded_job(key) or ""):
            return
        aside = key.with_name(f".{key.name.strip('.')}.old")
        with suppress(FileNotFoundError):  # another engine was faster
            rename(key, aside)
        # It may have been written again between the look and the rename.
        if present - _mtime(aside) <= LEFTOVER_SECONDS:
            with suppress(FileExistsError, PermissionError):  # the latter: a stray folder, which no link can name
                os.link(aside, key)
        remove(aside)


def _clear_submission(folder: Path, present: float) -> None:
    if present - max(_mtime(path) for path in (folder, folder / "source", folder / "watermark")) > LEFTOVER_SECONDS:
        # Out of its place in one step: should it be finished all the same, by a clock that is an hour behind this one,
        # either the whole of it becomes a job, or nothing does.
        leaving = folder.with_name(f"{folder.name.removesuffix('.left')}.left")
        if leaving != folder:
            rename(folder, leaving)
        remove(leaving)


def _clear_engine(engine: Path, present: float) -> None:
    if present - _mtime(engine) > LEFTOVER_SECONDS:
        remove(engine)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _each(things: list[_T], act: Callable[[_T], None]) -> list[OSError]:
    """Act on every thing; return the errors that were raised."""
    faults = []
    for thing in things:
        try:
            act(thing)
        except OSError as fault:
            faults.append(fault)
    return faults


def _mtime(path: Path) -> float:
    """Seconds since the epoch; 0 if it is gone."""
    return modified_ns(path) / 1e9
