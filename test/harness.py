"""The real service in real processes, on a folder and ports of its own; for the tests and for load.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

TOP = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(what: Callable[[], Any], seconds: float = 30, why: str = "it did not happen in time") -> Any:
    """Ask until the answer is true, and give it; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, why
        time.sleep(0.02)
    return found


class Service:
    """img-rest and any number of engines, started and killed one by one."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.volume = folder / "volume"
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._notifier = f"tcp://127.0.0.1:{free_port()}"
        self._settings = {
            "IMG_VOLUME": str(self.volume),
            "IMG_HTTP__PORT": str(self.port),
            "IMG_NOTIFIER__BIND": self._notifier,
            "IMG_NOTIFIER__CONNECT": self._notifier,
            "IMG_ENGINE__HEARTBEAT_SECONDS": "0.5",
            "IMG_ENGINE__LEASE_SECONDS": "2",
            "IMG_LIMITS__FREE_BYTES": "0",
            **settings,
        }
        self._started: list[subprocess.Popen[bytes]] = []
        self.rest: subprocess.Popen[bytes] | None = None

    def start_rest(self, **settings: str) -> subprocess.Popen[bytes]:
        self.rest = self._start("img-rest", **settings)
        until(self.alive, why="img-rest did not answer")
        return self.rest

    def start_engine(self, **settings: str) -> subprocess.Popen[bytes]:
        engine = self._start("img-engine", **settings)
        name = f"{socket.gethostname()}.{engine.pid}"
        until((self.volume / "engines" / name).exists, why="the engine did not announce itself")
        return engine

    def launch_engine(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start an engine that may die as soon as it runs; the volume knows of it a second later."""
        log = self.logs / f"img-engine-{len(self._started)}.log"
        engine = self._start("img-engine", **settings)
        until(
            lambda: engine.poll() is not None or b"engine_started" in log.read_bytes(), why="the engine did not start"
        )
        return engine

    def _start(self, command: str, **settings: str) -> subprocess.Popen[bytes]:
        log = (self.logs / f"{command}-{len(self._started)}.log").open("wb")
        environment = os.environ | self._settings | settings
        process = subprocess.Popen([BIN / command], env=environment, stdout=log, stderr=log)
        log.close()
        self._started.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> int:
        process.send_signal(number)
        return process.wait(60)

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            process.wait(60)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))

    # The client's side

    def alive(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def post(self, picture: bytes, **parameters: Any) -> str:
        answer = requests.post(f"{self.url}/resize", files={"file": ("p", picture)}, data=parameters, timeout=60)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def status(self, job_id: str, wait: float = 0) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/resize/status/{job_id}", params={"wait": wait}, timeout=wait + 30)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def ended(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        def final() -> dict[str, Any] | None:
            status = self.status(job_id, wait=5)
            return status if status["status"] in ("done", "failed", "cancelled") else None

        found: dict[str, Any] = until(final, seconds, f"job {job_id} did not end")
        return found

    def fetch(self, job_id: str) -> requests.Response:
        return requests.get(f"{self.url}/resize/{job_id}", timeout=60)
