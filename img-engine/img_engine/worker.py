"""The engine's threads: one takes work while a slot is free, one per slot makes an attempt, one sends heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
from img_contract.config import EngineConfig
from img_contract.errors import StoreError
from img_contract.ports import Claim, Work

from img_engine.attempt import FAULT_SECONDS, Attempts

_TURN_SECONDS: Final = 1.0
"""The longest that one turn of the dispatcher takes, so that it notices a stop."""

log = structlog.get_logger(__name__)


class Worker:
    """An engine. `run` returns after `stop` was called from a signal handler or another thread."""

    def __init__(
        self, name: str, work: Work, attempts: Attempts, slots: int, config: EngineConfig, metrics: Callable[[], str]
    ) -> None:
        """`metrics` returns what the engine has counted, in the text format of Prometheus."""
        self._name = name
        self._metrics = metrics
        self._published_at = float("-inf")
        self._work = work
        self._attempts = attempts
        self._config = config
        self._free = threading.Semaphore(slots)
        self._slots = ThreadPoolExecutor(slots, thread_name_prefix="slot")
        self._stop_asked = False
        self._stopping = threading.Event()  # no new job
        self._stopped = threading.Event()  # no job runs any more; until then claims are kept alive

    def stop(self) -> None:
        """Ask the engine to end: what runs may end within `shutdown_timeout_seconds`. Safe in a signal handler."""
        # A second signal in the middle of Event.set would find the event locked, by itself.
        if not self._stop_asked:
            self._stop_asked = True
            self._stopping.set()

    def run(self) -> None:
        """Work until stopped. Faults of the store are waited out."""
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        log.info("engine_started", engine=self._name)
        while not self._stopping.is_set():
            try:
                self._dispatch()
            except StoreError as error:
                log.error("store_fault", reason=str(error))
                self._stopping.wait(FAULT_SECONDS)
            except Exception:  # a defect must not end the engine: the jobs that run would be lost time
                log.exception("dispatch_crashed")
                self._stopping.wait(FAULT_SECONDS)
        self._shut_down()
        self._stopped.set()
        heart.join()
        log.info("engine_stopped", engine=self._name)

    def _dispatch(self) -> None:
        """One turn: start one job if a slot is free and there is one."""
        self._maintain()
        if not self._free.acquire(timeout=_TURN_SECONDS):
            return
        claim = None
        try:
            claim = self._work.next(_TURN_SECONDS)
        finally:
            if claim is None:
                self._free.release()
        if claim is not None:
            self._slots.submit(self._attempt, claim)

    def _maintain(self) -> None:
        try:
            self._work.maintain()
        except StoreError as error:  # what cannot be cleaned must not keep jobs waiting
            log.error("store_fault", reason=str(error))

    def _attempt(self, claim: Claim) -> None:
        try:
            self._attempts.attempt(claim)
        finally:
            self._free.release()

    def _beat(self) -> None:
        """Keep the claims alive, and say that this engine is."""
        while True:
            self._attempts.heartbeat()
            try:
                self._work.announce()
                self._publish()
            except StoreError as error:
                log.error("store_fault", reason=str(error))
            if self._stopped.wait(self._config.heartbeat_seconds if self._attempts else _TURN_SECONDS):
                return

    def _publish(self) -> None:
        if time.monotonic() - self._published_at >= self._config.heartbeat_seconds:
            self._work.publish_metrics(self._metrics())
            self._published_at = time.monotonic()

    def _shut_down(self) -> None:
        self._work.stop_taking()
        self._attempts.stop()
        deadline = time.monotonic() + self._config.shutdown_timeout_seconds
        while self._attempts and time.monotonic() < deadline:
            self._stopped.wait(0.05)
        self._attempts.cancel_all()
        self._slots.shutdown()
        try:
            self._work.withdraw()
        except StoreError as error:
            log.error("store_fault", reason=str(error))
