"""What an engine counts of its jobs, and the text that it publishes."""

from __future__ import annotations

import pytest
from img_contract.job.formats import Format
from img_contract.ports import METRICS_BYTES
from img_engine.attempt import SEVERAL
from img_engine.errors import SpentKind
from img_engine.metrics import EngineMetrics
from prometheus_client.parser import text_string_to_metric_families

DONE = {"event": "job_done", "recorded": True, "rendered": 0.2, "bytes": 1000, "result_bytes": 300}


@pytest.fixture
def metrics() -> EngineMetrics:
    return EngineMetrics()


def value(metrics: EngineMetrics, name: str, **labels: str) -> float | None:
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text())
        for sample in family.samples
    }
    return found.get((name, tuple(sorted(labels.items()))))


def test_a_job_that_is_done_counts_once_however_many_have_done_it(metrics: EngineMetrics) -> None:
    metrics.observe(DONE | {"format": Format.JPEG, "into": "webp"})
    metrics.observe(DONE | {"format": Format.JPEG, "into": "webp", "recorded": False})
    assert value(metrics, "img_jobs_ended_total", state="done", code="") == 1
    assert value(metrics, "img_job_render_seconds_count", format_in="jpeg", format_out="webp") == 1
    assert value(metrics, "img_source_bytes_total") == 1000
    assert value(metrics, "img_result_bytes_total") == 300


def test_what_is_not_known_by_name_is_other(metrics: EngineMetrics) -> None:
    metrics.observe(DONE | {"format": "jxl", "into": "image/x-own"})
    metrics.observe({"event": "job_failed", "recorded": True, "code": "of_a_newer_version"})
    metrics.observe({"event": "of a newer version"})
    assert value(metrics, "img_job_render_seconds_count", format_in="other", format_out="other") == 1
    assert value(metrics, "img_jobs_ended_total", state="failed", code="other") == 1
    assert value(metrics, "img_events_total", event="other") == 1


def test_only_the_first_attempt_has_waited_for_nothing_but_its_turn(metrics: EngineMetrics) -> None:
    for attempt in (1, 2):
        metrics.observe({"event": "job_claimed", "attempt": attempt, "waited": 0.5})
    assert value(metrics, "img_job_wait_seconds_count") == 1


def test_what_alerts_look_at_is_there_before_anything_happens(metrics: EngineMetrics) -> None:
    assert value(metrics, "img_jobs_ended_total", state="failed", code="attempts_exhausted") == 0
    for reason in (*SpentKind, "engine_lost"):
        assert value(metrics, "img_attempts_spent_total", reason=reason) == 0
    metrics.observe({"event": "attempt_spent", "kind": SpentKind.TIMEOUT})
    metrics.observe({"event": "attempt_lost"})
    assert value(metrics, "img_attempts_spent_total", reason="timeout") == 1
    assert value(metrics, "img_attempts_spent_total", reason="engine_lost") == 1


def test_an_engine_that_has_seen_all_formats_publishes_no_more_than_is_read(metrics: EngineMetrics) -> None:
    for one in Format:
        for other in (*Format, SEVERAL):
            metrics.observe(DONE | {"format": one, "into": other})
    assert len(metrics.text().encode()) < METRICS_BYTES / 2
    assert "_created" not in metrics.text()
