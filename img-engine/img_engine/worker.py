"""The engine's main loop: take jobs, have each rendered by a child, and end it.

One thread dispatches: it takes jobs while a slot is free, from the sweep (oldest first) or from the notifier. One
thread per slot lives through one job after the other. One thread keeps the claims alive.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog
from img_contract.config import EngineConfig
from img_contract.errors import StoreError
from img_contract.failpoints import failpoint
from img_contract.job.outcome import Failure, FailureCode
from img_contract.notify.zmq_pair import Listener
from img_contract.ports import Claim, JobStore

from img_engine.errors import AttemptSpent, ChildrenBroken
from img_engine.process.pool import Children, Rendering
from img_engine.render.task import PictureLimits, Refusal, Task, Watermark

SWEEP_SECONDS: Final = 1.0
"""An idle engine looks for pending jobs this often: what a lost ring costs."""

BUSY_SWEEP_SECONDS: Final = 5.0
"""An engine under load does it at least this often, so that its leases are watched and the oldest come first."""

_SHORTEST_PAUSE: Final = 0.1
_SWEEP_SHARE: Final = 0.02
"""And more often, down to that pause, as long as it takes no more than this share of the time: notifications that
come while all slots are busy are lost, and a slot that gets free should not wait for a job that is there."""

FAULT_SECONDS: Final = 2.0
"""How long to wait after the volume failed."""

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Running:
    """A claim that a slot is working on, and the future of its child once there is one."""

    claim: Claim
    future: Rendering | None = None
    void: bool = False

    def attach(self, future: Rendering) -> None:
        """Remember the future; cancel it at once if the claim is void already."""
        self.future = future
        if self.void:
            future.cancel()

    def cancel(self) -> None:
        """The claim is void: whatever the child makes is not wanted."""
        self.void = True
        if self.future is not None:
            self.future.cancel()


class Worker:
    """An engine. `run` returns after `stop` was called from a signal handler or another thread."""

    def __init__(
        self,
        name: str,
        store: JobStore,
        notifier: Listener,
        children: Children,
        slots: int,
        config: EngineConfig,
        limits: PictureLimits,
    ) -> None:
        self._name = name
        self._store = store
        self._notifier = notifier
        self._children = children
        self._config = config
        self._limits = limits
        self._free = threading.Semaphore(slots)
        self._slots = ThreadPoolExecutor(slots, thread_name_prefix="slot")
        self._running: set[Running] = set()
        self._candidates: deque[str] = deque()
        self._repeats: deque[str] = deque()
        self._spent: dict[str, float] = {}
        """Jobs that cost a child its life or its time here, and when. They are tried again one at a time, behind the
        others, but behind those of a few seconds only."""
        self._swept_at = float("-inf")
        self._sweep_seconds = 0.0
        self._kept_at = float("-inf")
        """When the volume was last kept clean."""
        self._told_to_stop = False
        self._stopping = threading.Event()  # no new job
        self._stopped = threading.Event()  # no job runs any more; until then claims are kept alive

    def stop(self) -> None:
        """Ask the engine to end: what runs may end within `shutdown_timeout_seconds`. Safe in a signal handler."""
        # A second signal in the middle of Event.set would find the event locked, by itself.
        if not self._told_to_stop:
            self._told_to_stop = True
            self._stopping.set()

    def run(self) -> None:
        """Work until stopped. Faults of the volume are waited out."""
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        log.info("engine_started", engine=self._name)
        while not self._stopping.is_set():
            try:
                self._dispatch()
            except StoreError as error:
                log.error("volume_fault", reason=str(error))
                self._stopping.wait(FAULT_SECONDS)
            except Exception:  # a defect must not end the engine: the jobs that run would be lost time
                log.exception("dispatch_crashed")
                self._stopping.wait(FAULT_SECONDS)
        self._wind_up()
        self._stopped.set()
        heart.join()
        log.info("engine_stopped", engine=self._name)

    # Taking jobs

    def _dispatch(self) -> None:
        """One turn: sweep if it is time, and start one job if a slot is free."""
        if time.monotonic() >= self._sweep_due():
            self._sweep()
        if not self._free.acquire(timeout=SWEEP_SECONDS):
            return
        claim = None
        try:
            claim = self._next_claim()
        finally:
            if claim is None:
                self._free.release()
        if claim is not None:
            running = Running(claim)
            self._running.add(running)
            self._slots.submit(self._attempt, running)

    def _sweep(self) -> None:
        began = time.monotonic()
        pending = self._store.pending()
        known = {*pending, *self._ids_running()}
        self._spent = {job_id: since for job_id, since in list(self._spent.items()) if job_id in known}
        self._candidates = deque(job_id for job_id in pending if job_id not in self._spent)
        self._repeats = deque(job_id for job_id in pending if job_id in self._spent)
        self._swept_at = time.monotonic()
        self._sweep_seconds = self._swept_at - began
        if self._swept_at - self._kept_at < SWEEP_SECONDS:
            return
        self._kept_at = self._swept_at
        try:
            self._store.upkeep()
        except StoreError as error:  # what cannot be cleaned must not keep jobs waiting
            log.error("volume_fault", reason=str(error))

    def _next_claim(self) -> Claim | None:
        repeat = bool(self._repeats) and self._spent.keys().isdisjoint(self._ids_running())
        if repeat and time.monotonic() - self._spent.get(self._repeats[0], 0.0) >= BUSY_SWEEP_SECONDS:
            return self._claim(self._repeats.popleft())
        while self._candidates and not self._stopping.is_set():
            if claim := self._claim(self._candidates.popleft()):
                return claim
        job = self._notifier.wait(0 if repeat else self._patience())
        if job is not None:
            return self._claim(job.id)
        if repeat:
            return self._claim(self._repeats.popleft())
        if not self._running:
            self._swept_at = float("-inf")  # idle: the next turn sweeps, without waiting for its time
        return None

    def _claim(self, job_id: str) -> Claim | None:
        # A claim of ours may look dead to ourselves, if we were frozen for a lease; the slot is still at it.
        if job_id in self._ids_running():
            return None
        failpoint("job.received")
        return self._store.claim(job_id, self._name)

    def _ids_running(self) -> set[str]:
        return {running.claim.job.id for running in list(self._running)}

    def _patience(self) -> float:
        """How long to wait at the notifier: until the next sweep is due."""
        return min(SWEEP_SECONDS, max(0.0, self._sweep_due() - time.monotonic()))

    def _sweep_due(self) -> float:
        """When to look at the volume next, by the monotonic clock."""
        pause = min(max(self._sweep_seconds / _SWEEP_SHARE, _SHORTEST_PAUSE), BUSY_SWEEP_SECONDS)
        return self._swept_at + (pause if self._running else SWEEP_SECONDS)

    # One job

    def _attempt(self, running: Running) -> None:
        claim = running.claim
        try:
            with structlog.contextvars.bound_contextvars(id=claim.job.id, attempt=claim.attempt):
                self._live_through(running)
        except Exception:
            log.exception("attempt_crashed", id=claim.job.id)  # a defect; the lease will end and another try
        finally:
            self._running.discard(running)
            self._free.release()

    def _live_through(self, running: Running) -> None:
        claim = running.claim
        began = time.monotonic()
        log.info("job_claimed", waited=round((time.time() - claim.job.submitted_at.timestamp()), 3))
        try:
            result = self._children.render(self._task(claim), running.attach)
            if isinstance(result, Refusal):
                stands = claim.fail(result.failure, result.facts)
                log.info("job_failed", code=result.failure.code, reason=result.failure.detail, stands=stands)
            else:
                stands = claim.publish(result.files, result.facts, result.warnings)
                log.info("job_done", seconds=round(time.monotonic() - began, 3), stands=stands)
        except AttemptSpent as spent:
            reason = str(spent)
            log.warning("attempt_spent", reason=reason)
            self._spent[claim.job.id] = time.monotonic()
            self._persist(running, lambda: claim.abandon(reason))
            # The next sweep finds it. Not at once: a picture that kills its child is a burden to the others each time.
        except (CancelledError, ChildrenBroken) as stopped:
            log.info("attempt_cancelled", void=running.void, reason=str(stopped))
            self._persist(running, claim.release)  # the engine stops, or its children do: nobody's fault
        except FileNotFoundError as error:
            log.error("upload_missing", reason=str(error))
            failure = Failure(code=FailureCode.JOB_DAMAGED, detail="the upload is no longer on the volume")
            self._persist(running, lambda: claim.fail(failure))
        except (StoreError, OSError) as error:
            log.error("volume_fault", reason=str(error))
            self._stopping.wait(FAULT_SECONDS)  # not the job's fault: it waits, and no attempt is charged
            self._persist(running, claim.release)

    def _persist(self, running: Running, write: Callable[[], object]) -> None:
        """Write how an attempt ended, and again until the volume takes it; a void claim is left as it is."""
        while True:
            try:
                if running.claim.heartbeat():
                    write()
            except StoreError as error:
                log.error("volume_fault", reason=str(error))
                if not self._stopping.wait(FAULT_SECONDS):
                    continue
            return

    def _task(self, claim: Claim) -> Task:
        job = claim.job
        return Task(
            source=claim.source,
            format=job.source.format,
            options=job.resize,
            target=claim.workspace / f".{claim.attempt}.{self._name}.part",
            limits=self._limits,
            watermark=Watermark(claim.watermark, job.watermark.format) if job.watermark else None,
            accept=job.accept,
        )

    # Staying alive, and ending

    def _beat(self) -> None:
        """Touch every claim; drop those that are void because their job ended or another engine took over."""
        while not self._stopped.wait(self._config.heartbeat_seconds if self._running else SWEEP_SECONDS):
            for running in list(self._running):
                self._keep_alive(running)
            try:
                self._store.announce(self._name)
            except StoreError as error:
                log.error("volume_fault", reason=str(error))

    def _keep_alive(self, running: Running) -> None:
        try:
            if not running.claim.heartbeat():
                running.cancel()
        except StoreError as error:
            log.error("volume_fault", id=running.claim.job.id, reason=str(error))

    def _wind_up(self) -> None:
        deadline = time.monotonic() + self._config.shutdown_timeout_seconds
        while self._running and time.monotonic() < deadline:
            self._stopped.wait(0.05)
        for running in list(self._running):
            if running.future is not None:
                running.future.cancel()
        self._slots.shutdown()
        self._children.stop()
        try:
            self._store.withdraw(self._name)
        except StoreError as error:
            log.error("volume_fault", reason=str(error))
