"""What is deployed to watch the service: rules that hold, names that exist, and a page that explains each of them."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from img_contract.memory import MemoryStore
from img_engine.metrics import EngineMetrics
from img_engine.process.pool import Children
from img_rest.exposition import Exposition
from img_rest.metrics import RestMetrics
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.python_independent

TOP: Final = Path(__file__).parents[1]
MONITORING: Final = TOP / "deploy" / "monitoring"
DASHBOARD: Final = json.loads((MONITORING / "grafana" / "dashboards" / "pictures.json").read_text())
ALERTS: Final = yaml.safe_load((MONITORING / "alerts.yml").read_text())
COMPOSE: Final = yaml.safe_load((TOP / "docker-compose.monitoring.yml").read_text())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Every expression of the dashboard and of the alerts."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
            yield from re.findall(r"`(\w+|sum [^`]+)`", rule["annotations"]["description"])


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Each family that a scrape may have, with the names of its labels."""
    children = Children(0, 2**30, 60)
    engine, rest, store = EngineMetrics(), RestMetrics(), MemoryStore()
    engine.follow(children)
    done = {"recorded": True, "format": "png", "into": "webp", "rendered": 0.1, "bytes": 2, "result_bytes": 1}
    engine.observe({"event": "job_done", **done})
    rest.count_request("/resize", "POST", 202, 0.1)
    work = store.work("engine")
    work.announce()
    work.publish_metrics(engine.text())
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(Exposition(rest, store).text()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


def test_every_name_in_the_dashboard_and_in_the_alerts_is_exported(exported: dict[str, set[str]]) -> None:
    named = {name for one in expressions() for name in re.findall(r"\bimg_\w+", one)}
    assert len(named) > 15
    known = {*exported, *(f"{name}{suffix}" for name in exported for suffix in ("_bucket", "_count", "_sum"))}
    assert sorted(named - known) == []


def test_every_metric_is_explained_with_its_labels_and_no_other_is(exported: dict[str, set[str]]) -> None:
    page = (TOP / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(img_\w+)(?:\{([\w, ]+)\})?` \|", page, re.MULTILINE)
    told = {name: set(filter(None, labels.split(", "))) for name, labels in rows}
    assert told == {name: labels - {"engine"} for name, labels in exported.items()}


def test_every_metric_of_the_engines_is_said_to_be_one(exported: dict[str, set[str]]) -> None:
    page = (TOP / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(img_\w+)\S*(?: [^|]*)?\| ([^|]+) \|", page, re.MULTILINE)
    told = {name for name, source in rows if "engine" in source}
    assert told == {name for name, labels in exported.items() if "engine" in labels}


def test_every_alert_is_explained() -> None:
    page = (TOP / "docs" / "monitoring.md").read_text()
    alerts = [rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]]
    assert len(alerts) == 5
    assert [alert for alert in alerts if f"`{alert}`" not in page] == []


@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault(check: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine: apt-get install prometheus")
    done = subprocess.run([promtool, *check], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_says_its_unit_what_it_shows_and_where_from() -> None:
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        assert panel["type"] in ("stat", "table") or all(target["legendFormat"] for target in panel["targets"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_no_two_panels_lie_upon_each_other() -> None:
    def cells(panel: Any) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))

    places = [cell for panel in DASHBOARD["panels"] for cell in cells(panel)]
    assert len(set(places)) == len(places)


def test_the_first_row_has_the_figures_of_the_moment() -> None:
    kinds = [panel["type"] for panel in DASHBOARD["panels"]]
    assert kinds[:9] == ["row", *["stat"] * 8]


@pytest.mark.parametrize("beside", ["docker-compose.yml", "docker-compose.cluster.yml"])
def test_it_runs_beside_either_of_the_compose_files(beside: str) -> None:
    base = yaml.safe_load((TOP / beside).read_text())
    assert set(COMPOSE["services"]) & set(base["services"]) == set()
    for service in COMPOSE["services"].values():
        assert set(service["networks"]) <= set(base["networks"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        mounted = [mount.split(":")[0] for mount in service["volumes"]]
        assert [one for one in mounted if one.startswith(".") and not (TOP / one).exists()] == []
        assert [one for one in mounted if not one.startswith(".") and one not in COMPOSE["volumes"]] == []
    assert "front" in base["services"]["img-rest"]["networks"]


@pytest.mark.parametrize("beside", ["docker-compose.yml", "docker-compose.cluster.yml"])
def test_compose_reads_both_files_together(beside: str) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("no docker-compose on this machine")
    files = ["-f", beside, "-f", "docker-compose.monitoring.yml"]
    done = subprocess.run(
        [compose, *files, "config"], cwd=TOP, capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"prometheus", "grafana", "img-rest", "img-engine"} <= set(services)


def test_grafana_finds_its_data_source_and_its_dashboard() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pictures.yml").read_text())["providers"]
    grafana = COMPOSE["services"]["grafana"]
    folder = provider["options"]["path"]
    assert f"./deploy/monitoring/grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/pictures.json"
    assert source["uid"] == DASHBOARD["templating"]["list"][0]["current"]["value"]
    assert "prometheus" in COMPOSE["services"]
