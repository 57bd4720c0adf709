"""What every test of this suite holds the service to, and the figures that it gives.

1. Every 202 reaches exactly one outcome.
2. `done` means results that are whole: over HTTP, on the volume and by their sha256, bytes, width and height.
3. No 5xx but the documented 503 and 507, no crash, no hang.
4. The next job is served; nothing is pending, and no process is left over.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
from img_client import Unavailable, Unreachable
from img_contract.http_models import Status
from img_contract.job.job import JOB_ID
from img_contract.testing import until
from img_contract.volume.cleanup import SHARDS, Cleanup
from img_contract.volume.layout import Layout
from PIL import Image

from img_testing.service import Service

_T = TypeVar("_T")

FULL: Final = os.environ.get("FAULTS", "short") == "full"
"""Whether the figures of docs/reliability.md are wanted, or those that take minutes."""

CRASHES: Final = ("request_crashed", "dispatch_crashed", "attempt_crashed", "Traceback (most recent call last)")


def rounds(short: int, full: int) -> int:
    return full if FULL else short


def picture(width: int = 48, height: int = 32, kind: str = "PNG") -> bytes:
    """A small picture with something to see in it, the same each time."""
    image = Image.new("RGB", (width, height), (200, 120, 40))
    image.paste((20, 90, 220), (0, 0, width // 2, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


TINY: Final = picture()


@dataclass
class Row:
    """A row of the table at the end of the run."""

    name: str
    rounds: int = 0
    jobs: int = 0
    lost: int = 0
    extra: int = 0
    """Attempts beyond one a job."""
    slowest: float = 0.0
    """Seconds from a fault until its job had ended, or the service answered again."""
    remarks: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(
        self, *, rounds: int = 0, jobs: int = 0, lost: int = 0, extra: int = 0, recovery: float = 0, remark: str = ""
    ) -> None:
        with self.lock:
            self.rounds += rounds
            self.jobs += jobs
            self.lost += lost
            self.extra += extra
            self.slowest = max(self.slowest, recovery)
            self.remarks += [remark] if remark else []

    def figures(self) -> dict[str, Any]:
        """Its fields as what can be sent from a worker of pytest-xdist."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "lock"}

    def merge(self, figures: dict[str, Any]) -> None:
        """Add another row of this name, as `figures` gave it."""
        sums = ("rounds", "jobs", "lost", "extra")
        self.add(**{name: figures[name] for name in sums}, recovery=figures["slowest"])
        self.remarks += figures["remarks"]


class Witness:
    """A client that keeps every 202 that it was given, and asks in the end what became of it. Thread-safe."""

    def __init__(self, service: Service, row: Row) -> None:
        self.service = service
        self.row = row
        self.accepted: list[str] = []
        self.refused: Counter[str] = Counter()

    def post(self, content: bytes = TINY, **parameters: Any) -> str | None:
        """Post once. None if the connection broke, or if it was refused with a 503 or 507 that can be understood."""
        try:
            job_id = self.service.post(content, **(parameters or {"width": 16}))
        except Unreachable:
            self.refused["connection"] += 1
            return None
        except Unavailable as error:
            if error.status not in (503, 507) or not error.code or not error.retry_after:
                raise
            self.refused[error.code] += 1
            return None
        self.accepted.append(job_id)
        return job_id

    def insist(self, content: bytes = TINY, **parameters: Any) -> str:
        """Post until it is taken."""
        return until(lambda: self.post(content, **parameters), why="no post was taken")

    def answered(self, ask: Callable[[], _T]) -> _T:
        """Ask, and again while the connection breaks or the volume is told to be unusable."""

        def once() -> tuple[_T] | None:
            try:
                return (ask(),)
            except (Unreachable, Unavailable):
                return None

        return until(once, why="it was not answered")[0]

    def status(self, job_id: str, wait: float = 0) -> Status:
        return self.answered(lambda: self.service.client.status(job_id, wait))

    def ended(self, job_id: str) -> Any:
        """The Status once it is final: untyped, since what may be None is what tests are about."""

        def final() -> Status | None:
            status = self.status(job_id, wait=2)
            return status if status.status.final else None

        return until(final, why=f"job {job_id} did not end")

    def recovered(self, job_id: str, since: float) -> float:
        """Seconds from `since`, a time.time(), until the job had ended."""
        took: float = max(0.0, self.ended(job_id).finished_at.timestamp() - since)
        self.row.add(recovery=took)
        return took

    def verdict(
        self, *, ends: Iterable[str] = ("done",), codes: Iterable[str] = (), most_attempts: int = 3
    ) -> dict[str, Any]:
        """Hold the service to its promises for every 202 until now; give the statuses.

        `codes`: with which a job may have failed, if `failed` is among its `ends`.
        """
        jobs = list(self.accepted)
        assert len(set(jobs)) == len(jobs), "a guid was given twice"
        with ThreadPoolExecutor(4) as clients:
            statuses = dict(zip(jobs, clients.map(self.ended, jobs), strict=True))
            list(clients.map(self.check_results, statuses.values()))
        odd = {
            job_id: status
            for job_id, status in statuses.items()
            if status.status not in ends
            or (status.status == "failed" and status.error.code not in codes)
            or status.attempt > most_attempts
        }
        extra = sum(max(0, status.attempt - 1) for status in statuses.values())
        self.row.add(jobs=len(jobs), lost=len(odd), extra=extra)
        assert not odd, f"{len(odd)} of {len(jobs)} ended otherwise: {list(odd.values())[:3]}"
        self.settled()
        for job_id, status in statuses.items():
            assert self.status(job_id) == status, "an outcome was changed"
        self.accepted = []
        return statuses

    def check_results(self, status: Status) -> None:
        """Whether a job that is done has its results, whole and as the status tells them."""
        if status.status != "done":
            assert status.outputs == []
            return
        assert status.outputs
        folder = job_folder(self.service.volume, status.id)
        for output in status.outputs:
            content = self.answered(partial(self.service.client.fetch, status.id, output.name))
            assert (len(content), hashlib.sha256(content).hexdigest()) == (output.bytes, output.sha256)
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                assert image.size == (output.width, output.height)
            (stored,) = (folder / "result").glob(f"{status.attempt}-{output.name}")
            assert hashlib.sha256(stored.read_bytes()).hexdigest() == output.sha256

    def settled(self, *, redone: Collection[str] = ()) -> None:
        """The next job is served; nothing is pending; each outcome was told once; no process is left over.

        `redone`: jobs whose outcome the test itself has taken away.
        """
        status = self.ended(self.insist())
        assert status.status == "done", status
        self.check_results(status)
        del self.accepted[-1]
        until(lambda: not pending(self.service.volume), why="something stays pending")
        until(lambda: not leftovers(self.service), why="processes are left over")
        log = self.service.log()
        assert [line for line in log.splitlines() if any(crash in line for crash in CRASHES)] == []
        stood = Counter(event["id"] for event in events(log, "job_done", "job_failed") if event["recorded"])
        assert [job_id for job_id, count in stood.items() if count > 1 and job_id not in redone] == [], (
            "two outcomes of one job"
        )


def events(log: str, *names: str) -> list[dict[str, Any]]:
    """The lines of a log that tell of such events."""
    found = []
    for line in log.splitlines():
        with suppress(ValueError):  # a process was killed in the middle of the line
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") in names:
                found.append(event)
    return found


def job_folder(volume: Path, job_id: str) -> Path:
    return volume / "jobs" / job_id[:2] / job_id


def all_jobs(volume: Path) -> list[Path]:
    return [path for path in (volume / "jobs").glob("??/*") if JOB_ID.fullmatch(path.name)]


def pending(volume: Path) -> list[str]:
    """The jobs that have a marker."""
    return [name for name in os.listdir(volume / "pending") if JOB_ID.fullmatch(name)]


def leftovers(service: Service) -> list[psutil.Process]:
    """Processes on the service's volume that nobody who lives has started, and zombies among the others."""
    living = [psutil.Process(process.pid) for process in service._started if process.poll() is None]
    kept, left = {one.pid for one in living}, []
    for parent in living:
        for child in parent.children(recursive=True):
            kept.add(child.pid)
            with suppress(psutil.NoSuchProcess):
                left += [child] if child.status() == psutil.STATUS_ZOMBIE else []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in kept and process.environ().get("IMG_VOLUME") == str(service.volume):
                left.append(process)
    return left


def end(service: Service) -> None:
    """End its processes, at once."""
    for process in service._started:
        process.kill()
        process.wait(60)


def age(path: Path, seconds: float) -> None:
    """Make it look as if it had last been touched so many seconds ago."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def age_leftovers(volume: Path) -> None:
    """As if two hours had passed since what is unfinished on the volume was touched."""
    for left in (volume / "incoming").iterdir():
        for path in (*left.glob("*"), left):
            age(path, 7200)
    for job in all_jobs(volume):
        if not (job / "outcome.json").exists():
            age(job, 7200)


def go_round(volume: Path) -> None:
    """What an engine's maintenance does in 256 seconds, at once."""
    cleanup = Cleanup(Layout(volume), retention_seconds=24 * 3600.0)
    for _ in range(SHARDS):
        cleanup.run_batch()


def in_parallel(*acts: Callable[[], None], width: int = 3) -> None:
    """Do all of it, so many at a time, and raise what the first that failed has raised."""
    with ThreadPoolExecutor(width) as threads:
        for done in [threads.submit(act) for act in acts]:
            done.result()
