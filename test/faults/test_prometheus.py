"""A real Prometheus scrapes the real service, with a key, and answers what the dashboard and the alerts ask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from img_client import Client
from img_contract.testing import HANG_SECONDS, until
from img_testing.prometheus import MONITORING, Prometheus, prometheus
from img_testing.service import Service
from img_testing.web import web
from img_testing.witness import TINY

pytestmark = [pytest.mark.faults, pytest.mark.python_independent]

KEY: Final = "of Prometheus"
DASHBOARD: Final = json.loads((MONITORING / "grafana" / "dashboards" / "pictures.json").read_text())
QUERIES: Final = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
QUIET: Final = ("Refusals", "Faults in the log")
"""Panels without series as long as all is well."""


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Service:
    keys = json.dumps({"prometheus": hashlib.sha256(KEY.encode()).hexdigest()})
    made = standing(IMG_ACCESS__KEYS=keys, IMG_ENGINE__CHILDREN="1", IMG_LOG_LEVEL="error")
    made.client = Client(made.url, api_key=KEY, retries=0, timeout=HANG_SECONDS)
    made.start_rest()
    made.start_engine()
    return made


@pytest.fixture(scope="module")
def watched(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, when it has seen the series of an engine at zero, and then two jobs done and one failed."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "key").write_text(KEY)
    with prometheus(folder / "files", f"127.0.0.1:{service.port}", folder / "key") as watching:
        until(lambda: watching.value('img_jobs_ended_total{state="done"}') == 0, why="no series of the engine came")
        until(lambda: watching.value("img_children{state='idle'}") == 1, why="the engine does not tell of its child")
        until(lambda: watching.value("count_over_time(img_jobs_accepted_total[1m])"), why="img-rest tells nothing")
        assert service.ended(service.post(TINY, width=8, format="webp")).status == "done"
        assert service.ended(service.post(TINY[: len(TINY) // 2], width=8)).status == "failed"
        done = service.post(TINY, width=8)
        assert service.ended(done).status == "done"
        service.client.cancel(done)
        ended = "sum by (state, code) (img_jobs_ended_total) > 0"
        until(lambda: len(watching.query(ended)) == 2, why="what was counted did not come")
        until(lambda: watching.value('sum(increase(img_jobs_ended_total{state="failed"}[1m]))'), why="no rate came")
        yield watching


def test_what_the_engine_has_done_is_told_under_its_name(service: Service, watched: Prometheus) -> None:
    (series,) = watched.query('img_jobs_ended_total{state="done"}')
    assert series["metric"]["engine"] in {path.name for path in (service.volume / "engines").iterdir()}
    until(lambda: watched.value('img_jobs_ended_total{state="done"}') == 2, why="a job is missing")
    assert watched.value("img_jobs_accepted_total") == 3
    assert watched.value('img_jobs_ended_total{code="picture_corrupt"}') == 1
    assert watched.value('img_job_render_seconds_count{format_in="png", format_out="webp"}') == 1
    assert watched.value("img_job_wait_seconds_count") == 3
    assert watched.value("img_source_bytes_total") == 2 * len(TINY)
    assert watched.value('img_events_total{event="job_deleted"}') == 1
    assert watched.value('img_events_total{event="job_done"}') == 2


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=lambda value: value[:40])
def test_a_panel_has_what_it_shows(watched: Prometheus, title: str, expression: str) -> None:
    asked = expression.replace("$__rate_interval", "1m").replace("$__range", "1h")
    found = until(lambda: watched.query(asked) or title in QUIET, why=f"nothing came of {asked}")
    assert found


def test_the_alerts_are_loaded_and_none_is_firing(watched: Prometheus) -> None:
    (group,) = watched.get("/rules")["groups"]
    until(lambda: watched.get("/rules")["groups"][0]["lastEvaluation"] > "1", why="the rules were not evaluated")
    assert [rule["health"] for rule in group["rules"]] == ["ok"] * 5
    assert watched.get("/alerts")["alerts"] == []


def test_a_scrape_without_the_key_is_refused(service: Service) -> None:
    assert web.get(f"{service.url}/metrics").status_code == 401


def test_the_successor_of_an_engine_that_is_killed_counts_from_zero(service: Service, watched: Prometheus) -> None:
    (first,) = [process for process in service._started if "img-engine" in str(process.args)]
    service.kill(first)
    second = service.start_engine()
    done = f'img_jobs_ended_total{{state="done", engine=~".*[.]{second.pid}"}}'
    until(lambda: watched.value(done) == 0, why="no series of the second came")
    assert service.ended(service.post(TINY, width=8)).status == "done"
    until(lambda: watched.value(done) == 1, why="its job is not counted")
    increase = watched.value('sum(increase(img_jobs_ended_total{state="done"}[10m]))')
    assert increase is not None
    assert increase > 0
