"""One attempt at a job, from its claim to its outcome. It does not matter which backend the claim came from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from img_contract.errors import StoreError, StoreUnavailable
from img_contract.job.formats import MEDIA_TYPES
from img_contract.job.outcome import Failure, FailureCode, ResultFile
from img_contract.ports import Claim, LocalFiles

from img_engine.errors import AttemptSpent, ChildrenBroken, SpentKind
from img_engine.process.pool import Children
from img_engine.process.remote import Rendering
from img_engine.render.task import PictureLimits, Refusal, Task, Watermark

FAULT_SECONDS: Final = 2.0
"""How long to wait after the store failed."""

SEVERAL: Final = "several"
"""What the results of a job are in, if it is more than one format."""

_FORMATS: Final = {media_type: str(name) for name, media_type in MEDIA_TYPES.items()}

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Running:
    """A claim that is being worked on, and the future of its child once there is one."""

    claim: Claim
    future: Rendering | None = None
    void: bool = False

    def attach(self, future: Rendering) -> None:
        """Remember the future; cancel it at once if the claim is void already."""
        self.future = future
        if self.void:
            future.cancel()

    def cancel(self) -> None:
        """Stop the child, now or as soon as there is one: nobody wants what it makes."""
        self.void = True
        if self.future is not None:
            self.future.cancel()


class Attempts:
    """The attempts that this engine is making. `attempt` is called from many threads, `heartbeat` from one."""

    def __init__(self, children: Children, limits: PictureLimits) -> None:
        self._children = children
        self._limits = limits
        self._running: set[_Running] = set()
        self._stopping = threading.Event()
        self._cancelled = False

    def __len__(self) -> int:
        return len(self._running)

    def attempt(self, claim: Claim) -> None:
        """Live through one attempt: render, and write down how it ended. Raises nothing."""
        running = _Running(claim, void=self._cancelled)
        self._running.add(running)
        try:
            with structlog.contextvars.bound_contextvars(id=claim.job.id, attempt=claim.attempt):
                self._run(running)
        except Exception:
            log.exception("attempt_crashed", id=claim.job.id)  # a defect; the lease will end and another attempt start
        finally:
            self._running.discard(running)
            claim.close()

    def heartbeat(self) -> None:
        """Extend the lease of every claim; stop the children of those that are void."""
        for running in list(self._running):
            try:
                if not running.claim.heartbeat():
                    running.cancel()
            except StoreError as error:
                log.error("store_fault", id=running.claim.job.id, reason=str(error))

    def stop(self) -> None:
        """Wait no longer for a store that fails: what cannot be written now is left to another engine."""
        self._stopping.set()

    def cancel_all(self) -> None:
        """Stop all children, also those that start later; their claims are released."""
        self._cancelled = True
        for running in list(self._running):
            running.cancel()

    def _run(self, running: _Running) -> None:
        claim = running.claim
        log.info("job_claimed", waited=round(time.time() - claim.job.submitted_at.timestamp(), 3))
        try:
            with claim.files() as files:
                self._render(running, files)
        except AttemptSpent as spent:
            log.warning("attempt_spent", reason=str(spent), kind=spent.kind)
            self._persist(running, partial(claim.abandon, str(spent)))
        except (CancelledError, ChildrenBroken) as stopped:
            log.info("attempt_cancelled", reason=str(stopped))
            self._persist(running, claim.release)  # the engine stops, or its children do: nobody's fault
        except FileNotFoundError as missing:
            self._persist(running, partial(_fail_without_upload, claim, str(missing)))
        except (StoreError, OSError) as error:
            self._release_after_fault(running, error)
        except Exception as defect:  # it costs this attempt, and the reason is known
            log.exception("attempt_crashed")
            reason = f"a defect of the engine: {defect!r}"
            log.warning("attempt_spent", reason=reason, kind=SpentKind.DEFECT)
            self._persist(running, partial(claim.abandon, reason))

    def _render(self, running: _Running, files: LocalFiles) -> None:
        began = time.monotonic()
        claim = running.claim
        try:
            result = self._children.render(self._task(claim, files), running.attach)
        except FileNotFoundError:
            raise
        except OSError as error:
            where, why = error.filename or files.target, error.strerror or error
            raise StoreUnavailable(f"cannot read the picture or write its results: {where}: {why}") from error
        if isinstance(result, Refusal):
            recorded = claim.fail(result.failure, result.facts)
            log.info("job_failed", code=result.failure.code, reason=result.failure.detail, recorded=recorded)
        else:
            recorded = claim.publish(result.files, result.facts, result.warnings)
            log.info(
                "job_done",
                seconds=round(time.monotonic() - began, 3),
                rendered=round(running.future.seconds, 4) if running.future else 0.0,
                format=claim.job.source.format,
                into=_format_of(result.files),
                bytes=claim.job.source.bytes,
                result_bytes=sum(file.bytes for file in result.files),
                recorded=recorded,
            )

    def _task(self, claim: Claim, files: LocalFiles) -> Task:
        job = claim.job
        return Task(
            source=files.source,
            format=job.source.format,
            options=job.resize,
            target=files.target,
            limits=self._limits,
            watermark=Watermark(files.watermark, job.watermark.format) if job.watermark else None,
            accept=job.accept,
        )

    def _release_after_fault(self, running: _Running, error: Exception) -> None:
        """Give the job back without charging an attempt, when the store or the disk failed; not at once."""
        if not _is_void(running.claim):
            log.error("store_fault", reason=str(error))
            self._stopping.wait(FAULT_SECONDS)
        self._persist(running, running.claim.release)

    def _persist(self, running: _Running, write: Callable[[], object]) -> None:
        """Write how an attempt ended, and again until the store takes it; a void claim is left as it is."""
        while True:
            try:
                if running.claim.heartbeat():
                    write()
                else:
                    log.info("claim_void")
            except StoreError as error:
                log.error("store_fault", reason=str(error))
                if not self._stopping.wait(FAULT_SECONDS):
                    continue
            return


def _is_void(claim: Claim) -> bool:
    """Return whether the job has ended meanwhile or is another's; False if the store cannot say."""
    try:
        return not claim.heartbeat()
    except StoreError:
        return False


def _fail_without_upload(claim: Claim, reason: str) -> None:
    # Reached only while the claim is good: the upload of a cancelled job is missing, too, and that is no fault.
    log.error("upload_missing", reason=reason)
    failure = Failure(code=FailureCode.JOB_DAMAGED, detail="the upload is no longer on the volume")
    log.info("job_failed", code=failure.code, reason=failure.detail, recorded=claim.fail(failure))


def _format_of(results: Sequence[ResultFile]) -> str:
    formats = {_FORMATS.get(one.media_type, one.media_type) for one in results}
    return formats.pop() if len(formats) == 1 else SEVERAL
