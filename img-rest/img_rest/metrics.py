"""The metrics of this process: what its events tell, and each request by its route."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, request
from img_contract.job.outcome import State
from img_contract.metrics import OTHER, SECONDS, Event, Metrics, known
from prometheus_client import Counter, Histogram

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})


class RestMetrics(Metrics):
    """Counts what one img-rest does."""

    def __init__(self) -> None:
        super().__init__("img-rest", {"job_accepted": self._job_accepted, "job_cancelled": self._job_cancelled})
        self._accepted = Counter("img_jobs_accepted_total", "Uploads that became jobs.", registry=self.registry)
        self._cancelled = self.ended.labels(State.CANCELLED, "")
        self._requests = Counter(
            "img_http_requests_total",
            "Requests that were answered, by the route's template and the status.",
            ["route", "method", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "img_http_request_seconds",
            "Time to the answer, the upload included, without the time that the client asked to wait for its job.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        """A look-up by labels takes longer than all the rest."""

    def count_request(self, route: str | None, method: str, code: int, seconds: float) -> None:
        """Count an answered request. `route`: the template that it matched; None if it matched none."""
        key = (route or OTHER, method, code)
        series = self._series.get(key)
        if series is None:
            route, method, code = key
            series = self._requests.labels(route, known(method, _METHODS), code), self._seconds.labels(route)
            if method in _METHODS:  # others are a client's own words, of which there is no end
                self._series[key] = series
        requests, took = series
        requests.inc()
        took.observe(seconds)

    def _job_accepted(self, _: Event) -> None:
        self._accepted.inc()

    def _job_cancelled(self, _: Event) -> None:
        self._cancelled.inc()


def register(app: Flask, metrics: RestMetrics, waited: Callable[[], float]) -> None:
    """Count every request of an application. Call it before anything else is registered, whose time then counts.

    `waited` returns how long this thread has waited for jobs since it was last called, in seconds.
    """

    def begin() -> None:
        waited()
        g.began = time.perf_counter()

    def count(response: Response) -> Response:
        seconds = time.perf_counter() - g.began - waited()
        route = request.url_rule.rule if request.url_rule else None
        metrics.count_request(route, request.method, response.status_code, seconds)
        return response

    app.before_request(begin)
    app.after_request(count)
