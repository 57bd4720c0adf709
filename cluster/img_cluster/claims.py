"""One attempt at a job in the store: an exclusive claim, its files on this machine, and how it ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from img_contract.failpoints import failpoint
from img_contract.job.job import Job, now
from img_contract.job.outcome import Facts, Failure, Outcome, Output, ResultFile, ResultWarning, State
from img_contract.ports import LocalFiles

from img_cluster.deliveries import Deliveries, Delivery, Notices, Settle
from img_cluster.objects import JobsStore


class ClusterClaim:
    """See `ports.Claim`. Its message stays with the broker until it is closed: that is its lease."""

    def __init__(
        self,
        store: JobsStore,
        deliveries: Deliveries,
        notices: Notices,
        job: Job,
        attempt: int,
        started_at: datetime,
        delivery: Delivery,
        settle: Settle,
        on_heartbeat: Callable[[Delivery], None],
        on_close: Callable[[str], None],
    ) -> None:
        self.job = job
        self.attempt = attempt
        self._store = store
        self._deliveries = deliveries
        self._notices = notices
        self._started_at = started_at
        self._delivery = delivery
        self._settle = settle
        self._on_heartbeat = on_heartbeat
        self._on_close = on_close
        self._folder = store.folder(job.id)
        self._file = f"{self._folder}/claim.{attempt}"
        self._done = False
        """Whether the message is done with: the job has ended, or another message was sent for it."""

    @contextmanager
    def files(self) -> Iterator[LocalFiles]:
        with tempfile.TemporaryDirectory(prefix="img-attempt-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            files = LocalFiles(folder / "source", folder / "watermark", folder / "result")
            self._fetch("source", files.source)
            if self.job.watermark:
                self._fetch("watermark", files.watermark)
            yield files

    def heartbeat(self) -> bool:
        # The broker watches over the connection; what is asked here is whether the claim is still good.
        self._on_heartbeat(self._delivery)
        found = self._store.look(self.job.id)
        return found.exists and not found.ended and found.attempts == self.attempt

    def publish(self, results: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        outputs = tuple(Output.of(result, f"{self.attempt}-{result.name}") for result in results)
        failpoint("publish.starting")
        names = [f"{self._folder}/result/{output.file}" for output in outputs]
        for result, name in zip(results, names, strict=True):
            self._store.bucket.put(name, result.path)
        failpoint("publish.renamed")
        recorded = self._end(State.DONE, outputs=outputs, warnings=warnings, facts=facts)
        if not recorded:
            self._store.bucket.delete(names)
        return recorded

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        return self._end(State.FAILED, error=failure, facts=facts)

    def abandon(self, reason: str) -> None:
        self._store.bucket.create(f"{self._file}.ended", reason.encode())
        self._deliveries.send_again(self.job.id)
        self._done = True

    def release(self) -> None:
        self._store.bucket.delete([self._file])

    def close(self) -> None:
        self._on_close(self.job.id)
        self._settle(self._done)

    def _fetch(self, name: str, path: Path) -> None:
        with open(path, "xb") as file:
            if not self._store.bucket.fetch(f"{self._folder}/{name}", file):
                raise FileNotFoundError(f"{self._folder}/{name}")

    def _end(self, state: Literal[State.DONE, State.FAILED], **details: Any) -> bool:
        """Write the outcome; `details` are its other fields."""
        outcome = Outcome(state=state, attempt=self.attempt, started_at=self._started_at, finished_at=now(), **details)
        # A job that was deleted by reason of its age has no record any more, and gets no outcome either.
        first = self._store.bucket.exists(f"{self._folder}/job.json") and self._store.end(
            self.job.id, self.job, outcome
        )
        self._done = True
        if first:
            self._notices.ended(self.job.id)
        return first
