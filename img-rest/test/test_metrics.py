"""What a scrape is answered, and what it is never told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import AccessConfig, Config
from img_contract.errors import StoreUnavailable
from img_contract.job.stats import Stats
from img_contract.job.status import JobStatus
from img_contract.memory import MemoryStore
from img_rest.app import create_app
from img_rest.exposition import Exposition, merged
from img_rest.metrics import RestMetrics
from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
Observers = list[Callable[[Mapping[str, Any]], None]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def counts(observers: Observers) -> Iterator[RestMetrics]:
    made = RestMetrics()
    observers.append(made.observe)
    yield made
    observers.remove(made.observe)


@pytest.fixture
def client(config: Config, store: MemoryStore, counts: RestMetrics) -> FlaskClient:
    return create_app(config, store, counts=counts).test_client()


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """Parse a text as Prometheus' own client does; no family and no series may come twice."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    assert {family.type for family in families} <= {"counter", "gauge", "histogram"}
    found = [(one.name, tuple(sorted(one.labels.items())), one.value) for family in families for one in family.samples]
    assert len({one[:2] for one in found}) == len(found)
    return {(name, labels): value for name, labels, value in found}


def scraped(client: FlaskClient, **labels_of: str) -> Callable[..., float | None]:
    answer = client.get("/metrics", headers=labels_of)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    found = samples(answer.text)
    return lambda name, **labels: found.get((name, tuple(sorted(labels.items()))))


def test_jobs_and_requests_are_counted(client: FlaskClient, png: bytes) -> None:
    job = client.post("/resize?width=2", data=png).get_json()["id"]
    client.get(f"/resize/status/{job}")
    client.delete(f"/resize/{job}")
    client.delete(f"/resize/{job}")  # it had ended
    value = scraped(client)
    assert value("img_jobs_accepted_total") == 1
    assert value("img_jobs_ended_total", state="cancelled", code="") == 1
    assert value("img_events_total", event="job_accepted") == 1
    assert value("img_http_requests_total", route="/resize", method="POST", code="202") == 1
    assert value("img_http_requests_total", route="/resize/<guid>", method="DELETE", code="204") == 2
    assert value("img_http_request_seconds_count", route="/resize/status/<guid>") == 1
    assert value("img_http_request_seconds_bucket", route="/resize", le="+Inf") == 1


def test_what_a_client_makes_up_is_one_series(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/nothing/{number}")
        client.open("/resize", method=f"VERB{number}")
    value = scraped(client)
    assert value("img_http_requests_total", route="other", method="GET", code="404") == 5
    assert value("img_http_requests_total", route="other", method="other", code="405") == 5


def test_no_guid_and_no_file_name_is_told(client: FlaskClient, png: bytes) -> None:
    job = client.post("/resize?width=2", data=png, headers={"Content-Disposition": 'x; filename="secret"'})
    guid = job.get_json()["id"]
    client.get(f"/resize/{guid}/secret")
    client.get(f"/resize/secret/{guid}")
    text = client.get("/metrics").text
    assert guid not in text
    assert "secret" not in text


def test_the_time_that_a_client_waits_for_its_job_is_not_that_of_the_request(
    config: Config, counts: RestMetrics, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: present)

    class Slow(MemoryStore):
        def wait_ended(self, *_: Any) -> bool:
            nonlocal present
            present += 30
            return False

        def status(self, job_id: str) -> JobStatus:
            nonlocal present
            present += 1
            return super().status(job_id)

    client = create_app(config, Slow(), counts=counts).test_client()
    job = client.post("/resize?width=2&wait=20", data=png).get_json()["id"]
    client.get(f"/resize/status/{job}?wait=20")
    client.get(f"/resize/status/{job}")
    value = scraped(client)
    assert value("img_http_request_seconds_sum", route="/resize") == 1
    assert value("img_http_request_seconds_sum", route="/resize/status/<guid>") == 3


def test_the_queue_is_told_as_it_is(client: FlaskClient, store: MemoryStore, png: bytes) -> None:
    client.post("/resize?width=2", data=png)
    engine = store.work("engine")
    engine.announce()
    client.post("/resize?width=2", data=png)
    engine.next(0)
    value = scraped(client)
    assert (value("img_queue_jobs"), value("img_jobs_processing"), value("img_engines_alive")) == (1, 1, 1)
    assert value("img_volume_free_bytes") == 2**40
    assert (value("img_queue_oldest_seconds") or -1) > 0


ENGINE = """# HELP img_events_total Log events, whether they were logged or not.
# TYPE img_events_total counter
img_events_total{event="job_done"} 3.0
# HELP img_job_wait_seconds Time from the upload to the first attempt.
# TYPE img_job_wait_seconds histogram
img_job_wait_seconds_bucket{le="+Inf"} 3.0
img_job_wait_seconds_count 3.0
img_job_wait_seconds_sum 1.5e-05
"""


def test_the_engines_series_have_their_name_and_each_family_comes_once(
    client: FlaskClient, store: MemoryStore, png: bytes
) -> None:
    client.post("/resize?width=2", data=png)
    for name in ("b.1", 'a"\\odd'):
        engine = store.work(name)
        engine.announce()
        engine.publish_metrics(ENGINE)
    value = scraped(client)
    assert value("img_events_total", event="job_accepted") == 1
    for name in ("b.1", 'a"\\odd'):
        assert value("img_events_total", event="job_done", engine=name) == 3
        assert value("img_job_wait_seconds_bucket", le="+Inf", engine=name) == 3
        assert value("img_job_wait_seconds_sum", engine=name) == 1.5e-05


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        ENGINE[:-3],  # broken off in a line
        ENGINE.replace('{event="job_done"}', '{event="job_done}'),
        ENGINE.replace("3.0\n", "3.0 # \n", 1),
        ENGINE.replace("3.0\n", "three\n", 1),
        ENGINE.replace("img_events_total{", "img_events_totals{"),  # of no family
        "img_events_total 3.0\n",  # without a type
        "# TYPE up gauge\nup 1.0\n",  # not one of ours
        ENGINE + "go_threads 3.0\n",
        ENGINE + "\0\0\0\n",
        "<html>\n",
    ],
)
def test_a_damaged_text_of_an_engine_is_left_out_and_the_rest_is_told(damaged: str) -> None:
    assert merged([("good", ENGINE), ("bad", damaged)]) == merged([("good", ENGINE)])
    assert samples(merged([("bad", damaged), ("good", ENGINE)])) == samples(merged([("good", ENGINE)]))


def test_a_family_that_means_something_else_in_another_version_is_left_out() -> None:
    other = ENGINE.replace("# TYPE img_events_total counter", "# TYPE img_events_total gauge")
    text = merged([("one", ENGINE), ("other", other)])
    assert [labels for name, labels in samples(text) if name == "img_events_total"] == [
        (("engine", "one"), ("event", "job_done"))
    ]
    assert ("img_job_wait_seconds_count", (("engine", "other"),)) in samples(text)


class _Failing(MemoryStore):
    """A store that cannot be read."""

    def stats(self) -> Stats:
        raise StoreUnavailable("no store")

    def engine_metrics(self) -> dict[str, str]:
        raise StoreUnavailable("no store")


def test_a_store_that_fails_leaves_its_gauges_out_and_the_rest_is_told(config: Config, counts: RestMetrics) -> None:
    client = create_app(config, _Failing(), counts=counts).test_client()
    client.get("/health")
    value = scraped(client)
    assert value("img_queue_jobs") is None
    assert value("img_http_requests_total", route="/health", method="GET", code="200") == 1
    assert value("img_events_total", event="store_fault") == 2


def test_the_store_is_asked_once_in_two_seconds_however_many_scrape(store: MemoryStore) -> None:
    clock = iter([0.0, 0.0, 1.9, 2.0, 2.0]).__next__
    exposition = Exposition(RestMetrics(), store, clock)
    engine = store.work("engine")

    def engines() -> float:
        return samples(exposition.text())["img_engines_alive", ()]

    assert engines() == 0
    engine.announce()
    assert engines() == 0
    assert engines() == 1


@pytest.mark.parametrize(
    ("metrics", "with_keys", "key", "status"),
    [
        ("key", False, None, 200),
        ("key", True, None, 401),
        ("key", True, "alice's", 200),
        ("open", True, None, 200),
        ("off", False, None, 404),
        ("off", True, "alice's", 404),
    ],
)
def test_who_may_scrape(
    config: Config, store: MemoryStore, metrics: str, with_keys: bool, key: str | None, status: int
) -> None:
    keys = {"alice": hashlib.sha256(b"alice's").hexdigest()} if with_keys else {}
    access = AccessConfig.model_validate({"keys": keys, "metrics": metrics})
    client = create_app(config.model_copy(update={"access": access}), store).test_client()
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == status
    assert ("/metrics" in client.get("/swagger.json").get_json()["paths"]) == (metrics != "off")


def test_an_event_below_the_level_of_the_log_is_counted() -> None:
    """In a process of its own, since logging is set up once."""
    import subprocess
    import sys

    program = """
import sys, structlog
from img_contract.logs import configure_logs, open_standard_streams
from img_rest.metrics import RestMetrics
open_standard_streams()
metrics = RestMetrics()
configure_logs(sys.argv[1], "img-rest", metrics.observe)
log = structlog.get_logger()
for _ in range(5000):
    log.info("job_accepted", id="x")
print(metrics.registry.get_sample_value("img_jobs_accepted_total"))
"""
    for level, shell in (("error", ""), ("info", "2>&-"), ("info", "2>/dev/full")):
        command = f"{sys.executable} -c '{program}' {level} {shell}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout, done.stderr) == ("5000.0\n", ""), (level, shell)


def test_counting_that_fails_costs_no_line() -> None:
    import structlog
    from img_contract.logs import _observed

    def defective(event: Mapping[str, Any]) -> None:
        raise KeyError(event["missing"])

    event: structlog.typing.EventDict = {"event": "job_done"}
    assert "missing" in str(_observed(defective)(None, "info", event))


def test_the_text_has_no_line_that_is_not_of_the_format(client: FlaskClient) -> None:
    line = re.compile(r'# (HELP|TYPE) img_\w+ .+|img_\w+(\{(\w+="[^"]*",?)+\})? [-+.e\d]+')
    lines = client.get("/metrics").text.splitlines()
    assert [one for one in lines if not line.fullmatch(one)] == []
