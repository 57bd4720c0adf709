"""What a scrape is answered: what this process has counted, how the store is, and what the engines have published.

The engines have no way out of their network, so nobody can scrape them. What they publish in the store is added here,
each series with the engine's name as its label `engine`. All of it is text of one format, Prometheus' 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats), in which each family of series comes once. So texts are
merged as they are: to parse them with prometheus_client and print them again takes seven times as long, in the process
that serves requests.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog
from img_contract.errors import StoreError
from img_contract.job.stats import Stats
from img_contract.ports import Jobs
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from img_rest.metrics import RestMetrics

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FRESH_SECONDS: Final = 2.0
"""The store is asked at most this often, however many scrape."""

_HEAD: Final = re.compile(r"# (?:HELP|TYPE) (img_\w+) .*")
_LABELS: Final = r'(?:\w+="(?:[^"\\]|\\.)*",?)*'
_VALUE: Final = r"[-+]?[\d.]+(?:e[-+]?\d+)?|NaN|[-+]Inf"
_SAMPLE: Final = re.compile(rf"(img_\w+?)(_bucket|_sum|_count)?(?:\{{({_LABELS})\}})? ({_VALUE})")

log = structlog.get_logger(__name__)


class Exposition:
    """Answers scrapes. Thread-safe."""

    def __init__(self, metrics: RestMetrics, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._jobs = jobs
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._from_store: list[tuple[str | None, str]] = []

    def text(self) -> str:
        """Return all metrics. What the store does not tell now is left out."""
        with self._lock:
            if self._clock() - self._asked_at >= _FRESH_SECONDS:
                self._from_store = [*self._gauges(), *self._of_engines()]
                self._asked_at = self._clock()
            found = self._from_store
        return merged([(None, generate_latest(self._metrics).decode()), *found])

    def _gauges(self) -> list[tuple[str | None, str]]:
        try:
            return [(None, generate_latest(_Gauges(self._jobs.stats())).decode())]
        except StoreError as error:
            log.warning("store_fault", reason=str(error))
            return []

    def _of_engines(self) -> list[tuple[str | None, str]]:
        try:
            return sorted(self._jobs.engine_metrics().items())
        except StoreError as error:
            log.warning("store_fault", reason=str(error))
            return []


@dataclass(frozen=True)
class _Gauges:
    """How the store is at one moment."""

    stats: Stats

    def collect(self) -> Iterable[Metric]:
        stats = self.stats
        oldest = stats.oldest_seconds or 0.0
        yield GaugeMetricFamily("img_queue_jobs", "Jobs that wait.", stats.queued)
        yield GaugeMetricFamily("img_queue_oldest_seconds", "How long the oldest of them has waited.", oldest)
        yield GaugeMetricFamily("img_jobs_processing", "Jobs that are worked on.", stats.processing)
        yield GaugeMetricFamily("img_engines_alive", "Engines that are alive.", len(stats.engines))
        if stats.free_bytes is not None:  # an object store tells of no limit
            yield GaugeMetricFamily("img_volume_free_bytes", "Free space on the volume.", stats.free_bytes)


@dataclass
class _Family:
    """All series of one name."""

    head: list[str] = field(default_factory=list)
    """Help and type, as the first text that has it says them."""
    samples: list[str] = field(default_factory=list)


def merged(texts: Iterable[tuple[str | None, str]]) -> str:
    """Merge texts, each with the engine that it is from; None: of this process. A damaged text is left out."""
    families: dict[str, _Family] = {}
    for engine, text in texts:
        for name, family in _families(engine, text).items():
            known = families.setdefault(name, family)
            if known is not family and known.head[-1] == family.head[-1]:  # else another version means another thing
                known.samples += family.samples
    return "".join(f"{line}\n" for family in families.values() for line in (*family.head, *family.samples))


def _families(engine: str | None, text: str) -> dict[str, _Family]:
    """Return what one text has, with the engine in each sample; nothing if it is damaged."""
    found: dict[str, _Family] = {}
    name = "-"
    for line in text.removesuffix("\n").split("\n"):
        if head := _HEAD.fullmatch(line):
            name = head[1]
            found.setdefault(name, _Family()).head.append(line)
        elif (sample := _SAMPLE.fullmatch(line)) and name in (sample[1], f"{sample[1]}{sample[2]}"):
            found[name].samples.append(line if engine is None else _labelled(engine, sample))
        else:
            return {}
    return found if text.endswith("\n") else {}


def _labelled(engine: str, sample: re.Match[str]) -> str:
    escaped = engine.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    labels = f'engine="{escaped}",{sample[3] or ""}'.removesuffix(",")
    return f"{sample[1]}{sample[2] or ''}{{{labels}}} {sample[4]}"
