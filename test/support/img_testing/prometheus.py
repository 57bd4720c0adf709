"""A real Prometheus: a process and a port of its own, with its files in one folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from img_contract.testing import HANG_SECONDS, free_port, until

from img_testing.service import TOP
from img_testing.web import web

MONITORING: Final = TOP / "deploy" / "monitoring"


class Prometheus:
    """What it has scraped."""

    def __init__(self, port: int) -> None:
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=HANG_SECONDS)

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API; return the data of the answer."""
        answer = self._client.get(path, params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """Evaluate an expression now; return each series with its value."""
        return list(self.get("/query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """Evaluate an expression of one series at most."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def close(self) -> None:
        self._client.close()


@contextmanager
def prometheus(folder: Path, target: str, key_file: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration that is deployed, four times a second, on `target` (host:port)."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on this machine: apt-get install prometheus")
    deployed = (MONITORING / "prometheus.yml").read_text()
    before, _, after = deployed.partition("    dns_sd_configs:")
    assert after, "the way that targets are found has changed"
    keyed = f"    authorization: {{credentials_file: {key_file}}}\n"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(
        f"{before.replace(': 15s', ': 250ms')}    static_configs: [{{targets: ['{target}']}}]\n{keyed}"
    )
    shutil.copy(MONITORING / "alerts.yml", folder)
    port = free_port()
    address = f"127.0.0.1:{port}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options, f"--web.listen-address={address}"], stdout=log, stderr=log)
    asked = Prometheus(port)
    try:
        until(lambda: _ready(address) or process.poll() is not None, why="Prometheus did not start")
        assert process.poll() is None, (folder / "log").read_text()
        yield asked
    finally:
        asked.close()
        process.kill()
        process.wait(HANG_SECONDS)


def _ready(address: str) -> bool:
    try:
        return web.get(f"http://{address}/-/ready", timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False
