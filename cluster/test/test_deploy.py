"""The files under deploy/ and docker-compose.cluster.yml: valid by their schemas, and by the service's own rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from img_contract.config import Config
from img_contract.load_config import load_config

pytestmark = pytest.mark.python_independent

TOP = Path(__file__).parents[2]
KUBERNETES = TOP / "deploy" / "kubernetes"
COMPOSE = yaml.safe_load((TOP / "docker-compose.cluster.yml").read_text())
RESOURCES = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
NOT_OF_KUBERNETES = {"ScaledObject", "TriggerAuthentication"}
"""Kinds of KEDA's, of which no schema is at hand."""


def manifests() -> list[dict[str, Any]]:
    return [one for name in RESOURCES for one in yaml.safe_load_all((KUBERNETES / name).read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in manifests() if one["kind"] == kind]


@pytest.fixture
def config_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a service makes of the variables that it is given."""
    for name in list(os.environ):
        if name.startswith("IMG_"):
            monkeypatch.delenv(name)

    def read(variables: dict[str, str]) -> Config:
        for name, value in variables.items():
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value))
        return load_config(None)

    return read


def test_every_file_of_kubernetes_is_used_and_valid() -> None:
    assert sorted(RESOURCES) == sorted(path.name for path in KUBERNETES.iterdir() if path.name != "kustomization.yaml")
    checked = 0
    for manifest in manifests():
        if manifest["kind"] not in NOT_OF_KUBERNETES:
            kubernetes_validate.validate(manifest, "1.36", strict=True)
            checked += 1
    assert checked >= 10


def output_of(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout


@pytest.mark.cluster
def test_kustomize_makes_of_the_folder_what_its_files_say() -> None:
    built = list(yaml.safe_load_all(output_of("kubectl", "kustomize", str(KUBERNETES))))
    names = [sorted((one["kind"], one["metadata"]["name"]) for one in some) for some in (built, manifests())]
    assert names[0] == names[1]
    for one in built:
        if one["kind"] not in NOT_OF_KUBERNETES:
            kubernetes_validate.validate(one, "1.36", strict=True)


@pytest.mark.cluster
def test_compose_understands_its_file() -> None:
    understood = yaml.safe_load(output_of("docker-compose", "-f", "docker-compose.cluster.yml", "config"))
    assert {"rabbitmq", "seaweedfs", "img-rest", "img-engine", "proxy"} <= set(understood["services"])


def test_prometheus_is_told_where_to_scrape() -> None:
    (pod,) = [one["spec"]["template"] for one in of_kind("Deployment") if one["metadata"]["name"] == "img-rest"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert pod["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port["containerPort"]),
        "prometheus.io/path": "/metrics",
    }


@pytest.mark.parametrize("deployment", of_kind("Deployment"), ids=lambda one: one["metadata"]["name"])
def test_a_pod_is_closed_and_its_service_reads_its_variables(deployment: dict[str, Any], config_of: Any) -> None:
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    (given,), (secret,) = of_kind("ConfigMap"), of_kind("Secret")
    own = {one["name"]: one["value"] for one in container.get("env", [])}
    config = config_of({**given["data"], **secret["stringData"], **own})
    assert config.store is not None
    assert config.queue is not None
    assert config.engine.shutdown_timeout_seconds < pod["terminationGracePeriodSeconds"] or "rest" in container["name"]
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == given["data"]["TMPDIR"]
    names = {one["metadata"]["name"] for one in of_kind("NetworkPolicy")} & {
        one["metadata"]["name"] for one in of_kind("PodDisruptionBudget")
    }
    assert deployment["metadata"]["name"] in names


def test_the_queue_that_is_scaled_by_is_that_of_the_configuration(config_of: Any) -> None:
    (given,), (secret,), (scaled,) = of_kind("ConfigMap"), of_kind("Secret"), of_kind("ScaledObject")
    config = config_of({**given["data"], **secret["stringData"]})
    assert scaled["spec"]["triggers"][0]["metadata"]["queueName"] == config.queue.name
    assert scaled["spec"]["minReplicaCount"] >= 1


@pytest.mark.parametrize("name", ["img-rest", "img-engine"])
def test_a_container_is_closed_and_its_service_reads_its_variables(name: str, config_of: Any) -> None:
    service = COMPOSE["services"][name]
    config = config_of(service["environment"])
    assert config.store.endpoint == "http://seaweedfs:8333"
    assert config.queue.broker.get_secret_value() == "amqp://img:onlyfortrying@rabbitmq:5672/"
    assert service["read_only"]
    assert (TOP / service["build"]["dockerfile"]).is_file()
    assert service["build"]["args"] == {"CLUSTER": "yes"}


def test_the_engines_have_no_way_out_and_every_file_that_is_mounted_is_there() -> None:
    assert COMPOSE["services"]["img-engine"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"]
    mounts = [mount.split(":") for one in COMPOSE["services"].values() for mount in one.get("volumes", [])]
    assert [source for source, *_ in mounts if source.startswith(".") and not (TOP / source).is_file()] == []


@pytest.mark.parametrize("part", ["img-rest", "img-engine"])
def test_what_an_image_is_built_of_is_not_ignored(part: str) -> None:
    copied = re.findall(r"^COPY ([\w.-]+)/? ", (TOP / part / "Dockerfile").read_text(), re.MULTILINE)
    assert {"constraints.txt", "shared", "cluster", part} <= set(copied)
    let_in = (TOP / ".dockerignore").read_text().splitlines()
    assert [name for name in copied if f"!{name}" not in let_in] == []
