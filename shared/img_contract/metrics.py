"""What both services count alike: events, how jobs ended, and which version counts. The rest is each service's own.

Counts come from the events of the log, see `configure_logs`; so there is no second place where something is counted,
and none that may be forgotten. No label ever has a guid, a file name or any other text of a client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

from img_contract.events import EVENTS
from img_contract.job.outcome import FailureCode, State

OTHER: Final = "other"
"""The value of a label for all that has none of its own."""

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of all histograms of times."""

_CODES: Final = frozenset(FailureCode)

Event = Mapping[str, Any]


class Metrics:
    """The metrics of one process. `observe` is what `configure_logs` wants. Thread-safe."""

    def __init__(self, service: str, counted: Mapping[str, Callable[[Event], None]]) -> None:
        """`counted`: what else is to be done with an event, by its name."""
        self.registry = CollectorRegistry()
        self._counted = {"job_failed": self._failed, **counted}
        self._events = Counter(
            "img_events_total", "Log events, whether they were logged or not.", ["event"], registry=self.registry
        )
        self.ended = Counter(
            "img_jobs_ended_total",
            "Jobs that ended, by state: done, failed or cancelled; failed ones by the code of their error.",
            ["state", "code"],
            registry=self.registry,
        )
        build = Gauge("img_build_info", "Always 1.", ["service", "version"], registry=self.registry)
        build.labels(service, version(service)).set(1)

    def observe(self, event: Event) -> None:
        """Count an event of the log."""
        name = known(event["event"], EVENTS)
        self._events.labels(name).inc()
        if counted := self._counted.get(name):
            counted(event)

    def collect(self) -> Iterable[Metric]:
        """Return the families, without the times at which counters were created, which would double their number."""
        for metric in self.registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    def _failed(self, event: Event) -> None:
        if event["recorded"]:
            self.ended.labels(State.FAILED, known(event["code"], _CODES)).inc()


def known(value: object, values: Collection[str]) -> str:
    """Return a value if it is one of the known ones, which bounds the number of series; else `OTHER`."""
    return str(value) if value in values else OTHER
