"""The configuration: file, environment, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from img_contract.config import Config, load_config
from img_contract.errors import ConfigError

TOP = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(content: object) -> Path:
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def test_defaults_are_local_and_closed_to_the_outside() -> None:
    config = load_config(None)
    assert config.http.host == "127.0.0.1"
    assert config.doorbell.bind == "tcp://127.0.0.1:5555"
    assert not config.volume.is_absolute()


def test_the_file_of_the_containers_is_valid() -> None:
    config = load_config(TOP / "config.json")
    assert config.volume == Path("/data")
    assert config.limits == Config().limits


def test_the_environment_overrides_one_key_and_leaves_its_neighbours(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG_HTTP__PORT", "9000")
    config = load_config(write({"http": {"host": "0.0.0.0", "port": 8000, "threads": 999}}))
    assert (config.http.host, config.http.port, config.http.threads) == ("0.0.0.0", 9000, 999)


def test_all_faults_are_told_with_key_expectation_and_finding(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG_ENGINE__CHILDREN", "many")
    path = write({"http": {"port": 0}, "limits": {"accept": ["jpg"]}, "colour": "red"})
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert sorted(raised.value.faults) == [
        "colour: expected no such key, found 'red'",
        "engine.children: expected a whole number, found 'many'",
        "http.port: expected at least 1, found 0",
        "limits.accept.0: expected 'jpeg', 'png', 'webp', 'gif', 'avif', 'heic', 'tiff', 'bmp' or 'ico', found 'jpg'",
    ]


@pytest.mark.parametrize(("content", "fault"), [("{", "expected JSON"), ("[]", "expected a JSON object")])
def test_a_file_that_is_no_configuration_is_refused(write: Any, content: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_config(write(content))


def test_a_file_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json: expected a file that can be read"):
        load_config(tmp_path / "nowhere.json")


def test_a_lease_must_outlast_two_heartbeats(write: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write({"engine": {"lease_seconds": 4, "heartbeat_seconds": 2}, "http": {"port": 0}}))
    assert raised.value.faults == [
        "http.port: expected at least 1, found 0",
        "engine: expected a lease_seconds of more than two heartbeats (4), found 4",
    ]


def test_threads_must_be_left_for_short_requests(write: Any) -> None:
    with pytest.raises(ConfigError, match="found 16 threads, 128 waiters, 448 uploads"):
        load_config(write({"http": {"threads": 16}}))


def test_a_variable_that_is_misspelt_is_a_fault(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG_LIMITS__PIXEL", "5")
    monkeypatch.setenv("IMG_LIMIT__PIXELS", "5")
    monkeypatch.setenv("IMG_VOLUMES", "x")
    monkeypatch.setenv("IMG_HTTP__PORT", "0")
    with pytest.raises(ConfigError) as raised:
        load_config(write({}))
    assert sorted(fault.split(":")[0] for fault in raised.value.faults) == [
        "IMG_LIMIT__PIXELS",
        "IMG_VOLUMES",
        "http.port",
        "limits.pixel",
    ]


@pytest.mark.parametrize("name", ["IMG_CONFIG", "IMG_FAILPOINTS", "IMG_PORT", "IMG_ENGINE_MEMORY", "IMAGE_X"])
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    load_config(None)


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG_ACCESS__KEYS", json.dumps({"alice": "0" * 64}))
    assert load_config(None).access.keys == {"alice": "0" * 64}
