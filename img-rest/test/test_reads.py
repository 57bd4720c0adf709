"""How often an answer reads the records of a job: a busy client polls."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import AccessConfig, Config
from img_contract.ports import Jobs
from img_rest.app import create_app

Opened = Counter[tuple[str, str]]
"""How often a file of that name was opened by that function."""

_counting: list[Opened] = []


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _counting and isinstance(arguments[0], str | os.PathLike):
        function = "os.open" if arguments[1] is None else "open"
        _counting[-1][os.path.basename(arguments[0]), function] += 1


@pytest.fixture(scope="module", autouse=True)
def _watch_opens() -> None:
    sys.addaudithook(_count)  # it stays for as long as the process lives, and costs nothing while nobody counts


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Count the files that are opened during a test, by name."""
    _counting.append(Counter())
    yield _counting[-1]
    _counting.pop()


@pytest.fixture
def guarded(config: Config, jobs: Jobs) -> FlaskClient:
    access = AccessConfig(keys={"alice": hashlib.sha256(b"key").hexdigest()})
    client = create_app(config.model_copy(update={"access": access}), jobs).test_client()
    client.environ_base["HTTP_X_API_KEY"] = "key"
    return client


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("path", ["/resize/status/{}", "/resize/{}", "/resize/{}/image.png"])
def test_with_keys_too_an_answer_reads_each_record_once(
    guarded: FlaskClient,
    png: bytes,
    finish: Callable[[], bytes],
    opened: Opened,
    path: str,
) -> None:
    job_id = guarded.post("/resize?width=2", data=png).get_json()["id"]
    finish()
    opened.clear()
    with guarded.get(path.format(job_id)) as answer:
        assert answer.status_code == 200
    records = {key: times for key, times in opened.items() if key[0] in ("job.json", "outcome.json", job_id)}
    assert records == {(name, "os.open"): 1 for name in ("job.json", "outcome.json", job_id)}  # its folder is listed
