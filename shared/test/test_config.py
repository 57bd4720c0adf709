"""The configuration: file, environment, and every fault at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_contract.config import Config
from img_contract.errors import ConfigError
from img_contract.load_config import load_config
from img_contract.notify.curve import fresh_keys

TOP = Path(__file__).parents[2]

ALL_KEYS = re.findall(r"`IMG_([A-Z_]+)`", (TOP / "docs" / "configuration.md").read_text())


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
    assert config.notifier.bind == "tcp://127.0.0.1:5555"
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
        "colour: expected no such key, found a value that is not shown here",
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


@pytest.mark.parametrize(
    "address",
    [
        "tcp://::1:5555",
        "tcp://[::1]",
        "tcp://[name]:5555",
        "tcp://name",
        "tcp://:5555",
        "tcp://a:0",
        "tcp://a:65536",
        "a:1",
    ],
)
def test_an_address_of_the_notifier_is_checked_at_start(write: Any, address: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write({"notifier": {"bind": address, "connect": "tcp://*:5555"}}))
    assert raised.value.faults == [
        f"notifier.bind: expected tcp://host:port, an IPv6 address in brackets, or ipc://path; found '{address}'",
        "notifier.connect: expected the name or address of one host, found 'tcp://*:5555'",
    ]


@pytest.mark.parametrize(
    "address", ["tcp://*:1", "tcp://[fe80::1%eth0]:65535", "tcp://img-rest:5555", "ipc:///run/a b"]
)
def test_addresses_that_a_notifier_may_have(write: Any, address: str) -> None:
    assert load_config(write({"notifier": {"bind": address}})).notifier.bind == address


def test_a_lease_must_outlast_two_heartbeats(write: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write({"engine": {"lease_seconds": 4, "heartbeat_seconds": 2}, "http": {"port": 0}}))
    assert raised.value.faults == [
        "http.port: expected at least 1, found 0",
        "engine: expected a lease_seconds of more than two heartbeats (4), found 4",
    ]


def test_threads_must_be_left_for_short_requests(write: Any) -> None:
    with pytest.raises(ConfigError, match="found 16 threads, 128 long_polls, 448 uploads"):
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


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("IMG_HTTP_PORT", "IMG_HTTP__PORT"),
        ("IMG_HTTP_HOST", "IMG_HTTP__HOST"),
        ("IMG_LIMIT__PIXELS", "IMG_LIMITS__PIXELS"),
        ("IMG_LOGLEVEL", "IMG_LOG_LEVEL"),
        ("IMG_CHILDREN", "IMG_ENGINE__CHILDREN"),
        ("img_http_port", "IMG_HTTP__PORT"),
        ("IMG_HTTP_IDLE", "IMG_HTTP__IDLE_SECONDS"),
        ("IMG_ENGINE_HEARTBEAT", "IMG_ENGINE__HEARTBEAT_SECONDS"),
        ("IMG_ENGINE_LEASE", "IMG_ENGINE__LEASE_SECONDS"),
        ("IMG_RETENTION", "IMG_RETENTION_SECONDS"),
        ("IMG_LIMITS_UPLOAD", "IMG_LIMITS__UPLOAD_BYTES"),
        ("IMG_REST_LOG_LEVEL", "IMG_LOG_LEVEL"),
        ("IMG_ENGINE_VOLUME", "IMG_VOLUME"),
        ("IMG_CLIENT_SECRET", "IMG_NOTIFIER__CURVE__CLIENT_SECRET"),
    ],
)
def test_a_near_miss_is_a_fault_that_names_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "8080")
    with pytest.raises(ConfigError) as raised:
        load_config(None)
    assert raised.value.faults == [
        (
            f"{variable}: expected a variable that docs/configuration.md has, found one that is unknown; "
            f"did you mean {meant}?"
        )
    ]


def test_a_key_that_is_misspelt_within_its_section_is_a_fault_that_names_what_was_meant(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMG_LIMITS__PIXEL", "5")
    with pytest.raises(ConfigError) as raised:
        load_config(write({"http": {"prot": 1}}))
    assert [fault.partition("did you mean")[2] for fault in sorted(raised.value.faults)] == [
        " http.port?",
        " limits.pixels?",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "IMG_CONFIG",
        "IMG_FAILPOINTS",
        "IMG_PORT",
        "IMG_ENGINE_MEMORY",
        "IMG_STORE_SECRET",
        "IMG_BROKER_PASSWORD",
        "IMG_SERVER",
        "IMG_KEY",
        "IMAGE_X",
        "IMG_TAG",
        "IMG_BASE_URL",
        "IMG_REST_IMAGE",
        "img_dir",
    ],
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    load_config(None)


@pytest.mark.parametrize(
    "service",
    ["img", "img-rest", "img-engine", "img-http", "img-volume", "img-limits", "img-notifier", "img-log-level"],
)
def test_what_kubernetes_tells_of_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    prefix, address = service.upper().replace("-", "_"), "10.0.0.1"
    links = {
        "SERVICE_HOST": address,
        "SERVICE_PORT": "8080",
        "SERVICE_PORT_HTTP": "8080",
        "PORT": f"tcp://{address}:8080",
        "PORT_8080_TCP": f"tcp://{address}:8080",
        "PORT_8080_TCP_PROTO": "tcp",
        "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_ADDR": address,
        "PORT_53_UDP": f"udp://{address}:53",
    }
    for name, value in links.items():
        monkeypatch.setenv(f"{prefix}_{name}", value)
    assert load_config(None).model_dump() == Config.model_construct().model_dump()


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_means_that_it_is_not_set(write: Any, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    for key in [*ALL_KEYS, "HTTP_PORT", "TAG", "LIMIT__PIXELS"]:
        monkeypatch.setenv(f"IMG_{key}", empty)
    assert load_config(write({"http": {"port": 8000}})).http.port == 8000


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG_ACCESS__KEYS", json.dumps({"alice": "0" * 64}))
    assert load_config(None).access.keys == {"alice": "0" * 64}


# Keys of the notifier


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda keys: keys.pop("client_secret"), "notifier.curve.client_secret: expected a value, found nothing"),
        (
            lambda keys: keys.update(server_secret=keys["server_secret"][1:]),
            "notifier.curve.server_secret: expected a key of 40 characters, found 39 characters",
        ),
        (
            lambda keys: keys.update(client_public=" " * 40),
            "notifier.curve.client_public: expected a key in Z85, found characters that are none of it",
        ),
        (
            lambda keys: keys.update(server_secret="#" * 40),
            "notifier.curve.server_secret: expected a key in Z85, found characters that are none of it",
        ),
        (
            lambda keys: keys.update(client_secret=keys["server_secret"]),
            "notifier.curve: expected a client_public that belongs to client_secret, found another's",
        ),
        (
            lambda keys: keys.update(server_secrt=keys["server_secret"]),
            (
                "notifier.curve.server_secrt: expected no such key, found a value that is not shown here; "
                "did you mean notifier.curve.server_secret?"
            ),
        ),
    ],
    ids=["missing", "short", "no Z85", "too large for 32 bits", "another's", "misspelt"],
)
def test_a_fault_in_the_keys_is_told_and_quotes_none_of_them(
    write: Any, break_it: Callable[[dict[str, Any]], None], fault: str
) -> None:
    keys = fresh_keys()
    secrets = [keys["server_secret"][1:], keys["client_secret"][1:]]
    break_it(keys)
    with pytest.raises(ConfigError) as raised:
        load_config(write({"notifier": {"curve": keys}}))
    assert raised.value.faults == [fault]
    assert [secret for secret in secrets if secret in str(raised.value)] == []


@pytest.mark.parametrize(
    "place",
    [lambda keys: {"dorbell": keys}, lambda keys: {"notifier": {"curv": keys}}, lambda keys: {"notifier": keys}],
)
def test_keys_in_the_wrong_place_are_quoted_in_no_fault(write: Any, place: Callable[[object], object]) -> None:
    keys = fresh_keys()
    with pytest.raises(ConfigError) as raised:
        load_config(write(place(keys)))
    assert [key for key in keys.values() if key in str(raised.value)] == []


@pytest.mark.parametrize(
    "place",
    [
        lambda key: {"access": {"keys": {"alice": key}}},
        lambda key: {"access": {"key": key}},
        lambda key: {"access": {"keys": key}},
        lambda key: {"api_key": key},
        lambda key: {"http": {"key": key}},
    ],
)
def test_a_key_of_the_api_in_place_of_its_digest_is_quoted_in_no_fault(
    write: Any, place: Callable[[object], object]
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(place("my-very-secret-key")))
    assert "my-very-secret-key" not in str(raised.value)


def test_the_command_prints_keys_that_are_taken_as_they_are(write: Any) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "img_contract.notify.curve"], capture_output=True, text=True, check=True
    )
    config = load_config(write(printed.stdout))
    assert config.notifier.curve is not None
    assert config.notifier.curve.client_secret.get_secret_value() in printed.stdout
    assert config.notifier.curve.client_secret.get_secret_value() not in repr(config)


STORE = {"kind": "s3", "bucket": "pictures"}
QUEUE = {"kind": "celery", "broker": "amqp://img:hush@broker/"}


@pytest.mark.parametrize(("given", "missing"), [("store", "queue"), ("queue", "store")])
def test_of_store_and_queue_there_are_both_or_neither(write: Any, given: str, missing: str) -> None:
    sections = {"store": STORE, "queue": QUEUE}
    assert load_config(write(sections)).queue is not None
    with pytest.raises(ConfigError) as raised:
        load_config(write({given: sections[given]}))
    assert raised.value.faults == [
        f"queue: expected store and queue, or neither of them; found {given} without {missing}"
    ]


@pytest.mark.parametrize(
    "section",
    [
        {"store": {**STORE, "secret_key": ["hush"]}, "queue": QUEUE},
        {"store": {**STORE, "endpoint": "http://img:hush@store"}, "queue": QUEUE},
        {"store": {**STORE, "secret_key": "hush"}, "queue": QUEUE},
        {"store": STORE, "queue": {**QUEUE, "broker": "redis://img:hush@broker"}},
        {"store": STORE, "queue": {**QUEUE, "brocker": "amqp://img:hush@broker"}},
    ],
)
def test_no_secret_of_store_or_broker_is_quoted(write: Any, section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(section))
    assert raised.value.faults
    assert "hush" not in str(raised.value)
    whole = load_config(write({"store": {**STORE, "access_key": "img", "secret_key": "hush"}, "queue": QUEUE}))
    assert "hush" not in repr(whole)
