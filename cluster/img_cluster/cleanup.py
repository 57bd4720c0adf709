"""Keeping the store clean: expired jobs, what broken submissions left, keys that lead to no job.

A lifecycle rule of the bucket could not do it: it counts from the creation of an object, so it would remove jobs that
still wait, and it would tear a job to pieces. For uploads in parts that were never completed, have one all the same.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Final

from img_contract.errors import UnknownJob
from img_contract.history import Arrival, Ending
from img_contract.job.job import JOB_ID

from img_cluster.bucket import PAGE, Bucket, Entry
from img_cluster.idempotency import read_use
from img_cluster.index import ENDED, RECENT, counted_down, keys_of, words_of
from img_cluster.objects import ENGINES, IDEMPOTENCY, JobObjects, JobsStore, marker
from img_cluster.proof import PROBES

LEFTOVER_SECONDS: Final = 3600.0
"""A submission that nobody has written to for this long is not going to be finished."""

SHARDS: Final = 256

_MOST: Final = 100 * PAGE
"""Objects of one shard that are looked at."""


_NOTED: Final = 100
"""Names of the index that are looked at in each turn: there are only those that an expired job has left behind."""


class Cleanup:
    """Cleans parts of one store. Any engine may do it, at any time. Every method raises StoreError."""

    def __init__(self, store: JobsStore, retention_seconds: float) -> None:
        self._store = store
        self._bucket: Bucket = store.bucket
        self._retention = retention_seconds
        self._last_key: str | None = None
        self._last_noted: dict[str, str] = {}

    def shard(self, number: int) -> None:
        """Clean a 256th of the jobs."""
        folder = f"jobs/{number % SHARDS:02x}"
        jobs: dict[str, dict[str, Entry]] = defaultdict(dict)
        for name, entry in self._bucket.names(folder, _MOST).items():
            job_id, _, rest = name.partition("/")
            if JOB_ID.fullmatch(job_id) and job_id.startswith(folder[-2:]):  # else it is not of our making
                jobs[job_id][rest] = entry
        present = self._bucket.now()
        for job_id, names in jobs.items():
            self._visit(job_id, JobObjects(names), present)

    def keys(self) -> None:
        """Look at the next thousand Idempotency-Keys; remove those whose job has expired."""
        names = self._bucket.names(IDEMPOTENCY, after=self._last_key)
        self._last_key = next(reversed(names)) if len(names) == PAGE else None
        present = self._bucket.now()
        for name, entry in names.items():
            if present - entry.modified > LEFTOVER_SECONDS:
                use = read_use(self._bucket, f"{IDEMPOTENCY}/{name}")
                if use is None or not self._bucket.exists(f"{self._store.folder(use.job)}/job.json"):
                    self._bucket.delete([f"{IDEMPOTENCY}/{name}"])

    def marks(self) -> None:
        """Remove the marks of engines that died long ago, and probes that were left."""
        present = self._bucket.now()
        for folder in (ENGINES, PROBES):
            marks = self._bucket.names(folder)
            old = [name for name, entry in marks.items() if present - entry.modified > LEFTOVER_SECONDS]
            self._bucket.delete([f"{folder}/{name}" for name in old])

    def index(self) -> None:
        """Look at the next few old names of the index; remove those whose job is gone, and did not take them along."""
        old = counted_down(datetime.fromtimestamp(time.time() - self._retention - LEFTOVER_SECONDS, UTC))
        for folder, read in ((RECENT, Arrival.read), (ENDED, Ending.read)):
            names = list(self._bucket.names(folder, _NOTED, max(old, self._last_noted.get(folder, ""))))
            self._last_noted[folder] = names[-1] if len(names) == _NOTED else ""
            for name in names:
                noted = read(words_of(name))
                if noted is None or not self._bucket.exists(f"{self._store.folder(noted.job_id)}/job.json"):
                    self._bucket.delete([f"{folder}/{name}"])

    def _visit(self, job_id: str, found: JobObjects, present: float) -> None:
        if not found.exists:
            if present - max(entry.modified for entry in found.names.values()) > LEFTOVER_SECONDS:
                self._remove(job_id, found)
        elif found.ended:
            if present - found.names["outcome.json"].modified > self._retention:
                self._remove(job_id, found)
        elif present - found.names["job.json"].modified > LEFTOVER_SECONDS:
            self._adopt(job_id)

    def _remove(self, job_id: str, found: JobObjects) -> None:
        # The record goes first, and the job is gone in one step: without half of its files it would look queued.
        folder = self._store.folder(job_id)
        noted: list[str] = []
        if found.exists:
            try:
                noted = keys_of(job_id, self._store.read_what_is_sound(job_id), self._store.read_outcome(job_id, found))
            except UnknownJob:  # another engine was faster
                noted = []
            self._bucket.delete([f"{folder}/job.json"])
        self._bucket.delete([*noted, *(f"{folder}/{name}" for name in found.names if name != "job.json")])

    def _adopt(self, job_id: str) -> None:
        """Give a job that has not ended its marker back, should somebody have removed it."""
        job = self._store.read_what_is_sound(job_id)
        if job and not self._bucket.exists(marker(job_id, job.submitted_at)):
            self._bucket.put(marker(job_id, job.submitted_at), b"")
            if self._store.look(job_id).ended:  # it ended this moment
                self._bucket.delete([marker(job_id, job.submitted_at)])
