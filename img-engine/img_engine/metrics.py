"""The metrics of an engine. Its children count nothing: what they did is counted here, where it is published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from img_contract.job.formats import Format
from img_contract.job.outcome import FailureCode, State
from img_contract.metrics import OTHER, SECONDS, Event, Metrics, known
from prometheus_client import Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from img_engine.attempt import SEVERAL
from img_engine.errors import SpentKind
from img_engine.process.pool import Children

_LOST: Final = "engine_lost"
"""Why an attempt was spent whose engine died, or was cut off."""

_FORMATS_IN: Final = frozenset(map(str, Format))
_FORMATS_OUT: Final = _FORMATS_IN | {SEVERAL}


class EngineMetrics(Metrics):
    """Counts what one engine does."""

    def __init__(self) -> None:
        counted = {
            "job_claimed": self._claimed,
            "job_done": self._done,
            "attempt_spent": lambda event: self._spend(event["kind"]),
            "attempt_lost": lambda _: self._spend(_LOST),
        }
        super().__init__("img-engine", counted)
        self._wait = Histogram(
            "img_job_wait_seconds",
            "Time from the upload to the first attempt.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._render = Histogram(
            "img_job_render_seconds",
            "Time that a child took for a job that is done, by the format of the upload and of the results.",
            ["format_in", "format_out"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._spent = Counter(
            "img_attempts_spent_total", "Attempts that ended without an outcome.", ["reason"], registry=self.registry
        )
        self._source_bytes = Counter(
            "img_source_bytes_total", "Bytes of the uploads of jobs that are done.", registry=self.registry
        )
        self._result_bytes = Counter(
            "img_result_bytes_total", "Bytes of the results of jobs that are done.", registry=self.registry
        )
        self._start_at_zero()

    def follow(self, children: Children) -> None:
        """Tell of the children from now on."""
        self.registry.register(_ChildrenNow(children))

    def text(self) -> str:
        """Return all of it in the text format of Prometheus."""
        return generate_latest(self).decode()

    def _claimed(self, event: Event) -> None:
        if event["attempt"] == 1:  # a later one has waited for the one before it, too
            self._wait.observe(max(0.0, event["waited"]))  # the clocks of two machines differ

    def _done(self, event: Event) -> None:
        if event["recorded"]:
            self.ended.labels(State.DONE, "").inc()
            self._render.labels(known(event["format"], _FORMATS_IN), known(event["into"], _FORMATS_OUT)).observe(
                event["rendered"]
            )
            self._source_bytes.inc(event["bytes"])
            self._result_bytes.inc(event["result_bytes"])

    def _spend(self, reason: str) -> None:
        self._spent.labels(reason).inc()

    def _start_at_zero(self) -> None:
        """Make the series that alerts look at: the first event of one that did not exist before is no increase."""
        self.ended.labels(State.DONE, "")
        for code in (*FailureCode, OTHER):
            self.ended.labels(State.FAILED, code)
        for reason in (*SpentKind, _LOST):
            self._spent.labels(reason)


class _ChildrenNow:
    """The children as they are when somebody asks."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def collect(self) -> Iterable[Metric]:
        busy = self._children.busy
        states = GaugeMetricFamily("img_children", "Processes that render.", labels=["state"])
        states.add_metric(["busy"], busy)
        states.add_metric(["idle"], self._children.count - busy)
        yield states
        yield CounterMetricFamily(
            "img_children_busy_seconds",
            "Time that all children together have rendered.",
            value=self._children.busy_seconds,
        )
