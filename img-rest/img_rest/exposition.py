"""What a scrape is answered: what this process has counted, how the store is, and what the engines have published.

The engines have no way out of their network, so nobody can scrape them. What they publish in the store is added here,
each series with the engine's name as its label `engine`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from img_contract.errors import StoreError
from img_contract.job.stats import Stats
from img_contract.ports import Jobs
from prometheus_client import exposition
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from img_rest.metrics import RestMetrics

ENGINE: Final = "engine"
"""The label that tells an engine's series."""

_FRESH_SECONDS: Final = 2.0
"""The store is asked at most this often, however many scrape."""

_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text"

_PREFIX: Final = "img_"
_TYPES: Final = ("counter", "gauge", "histogram")
"""A text that broke off in the middle of a family has samples without a type."""

log = structlog.get_logger(__name__)


class Exposition:
    """Answers scrapes. Thread-safe."""

    def __init__(self, metrics: RestMetrics, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self.metrics = metrics
        self._jobs = jobs
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._from_store: list[Metric] = []
        self._parsed: dict[str, tuple[str, list[Metric]]] = {}
        """What each engine's text came to; an idle one publishes the same again and again."""

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their media type: OpenMetrics if an Accept header names that, else the older text."""
        # Not by prometheus_client's choose_encoder, which stumbles over versions that are no numbers.
        if _OPENMETRICS in accept:
            return openmetrics.generate_latest(self), openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self), _PLAIN

    def collect(self) -> Iterable[Metric]:
        """Return every family once, with the samples of all."""
        with self._lock:
            if self._clock() - self._asked_at >= _FRESH_SECONDS:
                self._from_store = [*self._gauges(), *self._of_engines()]
                self._asked_at = self._clock()
            found = self._from_store
        families: dict[str, Metric] = {}
        for metric in (*self.metrics.collect(), *found):
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            if family.type == metric.type:  # else an engine of another version means something else by the name
                family.samples += metric.samples
        return families.values()

    def _gauges(self) -> list[Metric]:
        try:
            return gauges(self._jobs.stats())
        except StoreError as error:
            log.warning("store_fault", reason=str(error))
            return []

    def _of_engines(self) -> list[Metric]:
        try:
            published = self._jobs.engine_metrics()
        except StoreError as error:
            log.warning("store_fault", reason=str(error))
            return []
        self._parsed = {engine: self._families(engine, text) for engine, text in published.items()}
        return [metric for _, metrics in self._parsed.values() for metric in metrics]

    def _families(self, engine: str, text: str) -> tuple[str, list[Metric]]:
        known = self._parsed.get(engine)
        return known if known and known[0] == text else (text, parsed(engine, text))


def gauges(stats: Stats) -> list[Metric]:
    """Return how the store is at this moment."""
    found: dict[str, tuple[str, float | None]] = {
        "img_queue_jobs": ("Jobs that wait.", stats.queued),
        "img_queue_oldest_seconds": (
            "How long the oldest of them has waited; 0 if none waits.",
            stats.oldest_seconds or 0,
        ),
        "img_jobs_processing": ("Jobs that are worked on.", stats.processing),
        "img_engines_alive": ("Engines that were alive within the last 30 seconds.", len(stats.engines)),
        "img_volume_free_bytes": ("Free space; absent where jobs are in an object store.", stats.free_bytes),
    }
    return [GaugeMetricFamily(name, text, value=value) for name, (text, value) in found.items() if value is not None]


def parsed(engine: str, text: str) -> list[Metric]:
    """Return what an engine has published, with its name in each series; nothing if the text is damaged."""
    try:
        metrics = list(text_string_to_metric_families(text))
    except ValueError:
        return []
    for metric in metrics:
        metric.samples = [
            Sample(sample.name, {**sample.labels, ENGINE: engine}, sample.value) for sample in metric.samples
        ]
    return [metric for metric in metrics if metric.name.startswith(_PREFIX) and metric.type in _TYPES]
