"""The real service in real processes, on a folder and ports of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from img_client import Client, ImgError
from img_contract.testing import HANG_SECONDS, free_port, until

TOP = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


class Service:
    """img-rest and any number of engines, started and killed one by one."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.volume = folder / "volume"
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url, retries=0, timeout=HANG_SECONDS)
        """Each request is sent once: a test that wants more says so."""
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
        self.engine: subprocess.Popen[bytes]
        """The one that was started last."""

    def start_rest(self, **settings: str) -> subprocess.Popen[bytes]:
        self.rest = rest = self._start("img-rest", **settings)
        until(lambda: self.alive() or rest.poll() is not None, why="img-rest did not answer")
        assert rest.poll() is None, self.log()
        return rest

    def start_engine(self, **settings: str) -> subprocess.Popen[bytes]:
        self.engine = engine = self._start("img-engine", **settings)
        name = f"{socket.gethostname()}.{engine.pid}"
        announced = self.volume / "engines" / name
        until(lambda: announced.exists() or engine.poll() is not None, why="the engine did not announce itself")
        assert engine.poll() is None, self.log()
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
        return process.wait(HANG_SECONDS)

    @contextmanager
    def frozen(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Suspend a process and all that it started until the end of the block."""
        root = psutil.Process(process.pid)
        everyone = [root, *root.children(recursive=True)]
        for one in everyone:
            one.suspend()
        try:
            yield
        finally:
            for one in everyone:
                one.resume()

    def stop(self) -> None:
        self.client.close()
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            process.wait(HANG_SECONDS)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))

    # The client's side

    def alive(self) -> bool:
        try:
            self.client.health()
        except ImgError:
            return False
        return True

    def post(self, picture: bytes, **parameters: Any) -> str:
        """Submit a picture once, without an idempotency key; return the job's guid."""
        return self.client.submit(picture, **{"idempotency_key": "", "filename": "p", **parameters}).id

    def status(self, job_id: str, wait: float = 0) -> Any:
        """The Status: untyped, since what may be None is what tests are about."""
        return self.client.status(job_id, wait)

    def ended(self, job_id: str) -> Any:
        """The Status once it is final."""
        return self.client.wait(job_id, HANG_SECONDS)

    def fetch(self, job_id: str) -> bytes:
        return self.client.fetch(job_id)
