"""A real broker and object store for tests, and services over them: any number of img-rest and of img-engine."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from img_client import Client, ImgError, Unavailable, Unreachable
from img_cluster.bucket import Bucket, open_bucket
from img_cluster.celery_app import Topology
from img_cluster.local import Broker, ObjectStore, settings
from img_cluster.objects import PENDING, JobsStore
from img_contract.testing import HANG_SECONDS, free_port, until
from kombu import Connection

from img_testing.witness import FULL, TINY, events

BIN: Final = Path(sys.executable).parent


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """SeaweedFS, one for all tests."""
    store = ObjectStore(tmp_path_factory.mktemp("store"))
    try:
        store.start()
        yield store
    finally:
        store.kill()


@pytest.fixture(scope="session")
def broker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """RabbitMQ, one for all tests."""
    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        broker.stop()


@pytest.fixture
def object_store(store_server: ObjectStore) -> Bucket:
    """A part of the real store that nobody else uses."""
    return open_bucket(store_server.config.model_copy(update={"prefix": uuid.uuid4().hex}))


@pytest.fixture
def cluster(store_server: ObjectStore, broker_server: Broker, tmp_path: Path) -> Iterator[Cluster]:
    """Services over a part of the store and queues that nobody else uses."""
    made = Cluster(store_server, broker_server, tmp_path)
    try:
        yield made
    finally:
        made.kill_all()


class Replica:
    """One img-rest."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process
        self.client = Client(f"http://127.0.0.1:{port}", retries=0, timeout=HANG_SECONDS)

    def alive(self) -> bool:
        try:
            self.client.health()
        except ImgError:
            return False
        return True


class Cluster:
    """Any number of both services, started and killed one by one."""

    def __init__(self, store: ObjectStore, broker: Broker, folder: Path, **more: str) -> None:
        self.store = store
        self.broker = broker
        self.prefix = uuid.uuid4().hex
        self.queue = f"img.{self.prefix[:8]}"
        self.logs = folder / "logs"
        self.logs.mkdir()
        # Not in the folder of the test, whose path is too long for the sockets that engines make there.
        self.scratch = Path(tempfile.mkdtemp(prefix="img-", dir="/tmp"))
        self._settings = {
            **settings(broker, store),
            "IMG_STORE__PREFIX": self.prefix,
            "IMG_QUEUE__NAME": self.queue,
            "IMG_ENGINE__CHILDREN": "1",
            "TMPDIR": str(self.scratch),
            **more,
        }
        self.started: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()
        self._clients: list[Client] = []

    def set(self, **more: str) -> None:
        """Change the settings of what is started from now on."""
        self._settings |= more

    def start_rest(self, **more: str) -> Replica:
        port = free_port()
        process, _ = self._start("img-rest", IMG_HTTP__PORT=str(port), **more)
        replica = Replica(port, process)
        self._clients.append(replica.client)
        until(lambda: replica.alive() or process.poll() is not None, why="img-rest did not answer")
        assert process.poll() is None, self.log()
        return replica

    def start_engine(self, *within: str, **more: str) -> subprocess.Popen[bytes]:
        """Start an engine; `within` is what its command begins with, to run on another host."""
        engine, log = self._start("img-engine", *within, **more)
        until(
            lambda: engine.poll() is not None or b"engine_started" in log.read_bytes(), why="the engine did not start"
        )
        assert engine.poll() in (None, -signal.SIGKILL), self.log()  # some are to die as soon as they run
        return engine

    def run(self, command: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of the commands to its end."""
        return subprocess.run(
            [BIN / command, *arguments],
            env=os.environ | self._settings | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> int:
        process.send_signal(number)
        return process.wait(HANG_SECONDS)

    def kill_engines(self) -> None:
        for process in self.started:
            if str(process.args[-1]).endswith("img-engine"):  # type: ignore[index]  # a list, as _start has it
                process.kill()
                process.wait(HANG_SECONDS)

    def kill_all(self) -> None:
        for client in self._clients:
            client.close()
        for process in self.started:
            process.kill()
            process.wait(HANG_SECONDS)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))

    def events(self, *names: str) -> list[dict[str, Any]]:
        return events(self.log(), *names)

    @property
    def jobs(self) -> JobsStore:
        return JobsStore(open_bucket(self.store.config.model_copy(update={"prefix": self.prefix})))

    def pending(self) -> int:
        return len(self.jobs.bucket.names(PENDING))

    def messages(self) -> list[int]:
        """How many messages are ready: jobs, those for another attempt, dead letters. (rabbitmqctl lags behind.)"""
        topology = Topology(self.queue)
        with Connection(self.broker.url) as connection:
            channel = connection.default_channel
            return [
                queue.bind(channel).queue_declare(passive=True).message_count
                for queue in (topology.jobs, topology.again, topology.dead)
            ]

    def _start(self, command: str, *within: str, **more: str) -> tuple[subprocess.Popen[bytes], Path]:
        path = self.logs / f"{command}-{next(self._numbers)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*within, BIN / command], env=os.environ | self._settings | more, stdout=log, stderr=log
            )
        self.started.append(process)
        return process, path


@dataclass
class Clients:
    """Clients that keep every 202 that they were given, and ask in the end what became of it. Thread-safe."""

    cluster: Cluster
    replicas: Callable[[], list[Replica]]
    accepted: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def post(self, content: bytes = TINY, **parameters: Any) -> str | None:
        """Post once to one of the replicas. None if it was refused, in a way that a client understands, or broke."""
        replicas = self.replicas()
        replica = replicas[len(self.accepted) % len(replicas)]
        try:
            job_id = replica.client.submit(
                content, idempotency_key="", filename="p", **(parameters or {"width": 16})
            ).id
        except Unreachable:
            self.refused["connection"] += 1
            return None
        except Unavailable as error:
            if error.status != 503 or not error.code or not error.retry_after:
                raise
            self.refused[error.code] += 1
            return None
        self.accepted.append(job_id)
        return job_id

    def insist(self, content: bytes = TINY, **parameters: Any) -> str:
        return until(lambda: self.post(content, **parameters), why="no post was taken")

    def status(self, job_id: str, wait: float = 0) -> Any:
        def once() -> Any:
            try:
                return self.replicas()[0].client.status(job_id, wait)
            except (Unreachable, Unavailable):
                time.sleep(0.05)
                return None

        return until(once, why="no status was answered")

    def ended(self, job_id: str) -> Any:
        def final() -> Any:
            status = self.status(job_id, wait=2)
            return status if status.status.final else None

        return until(final, why=f"job {job_id} did not end")

    def verdict(self, *, ends: tuple[str, ...] = ("done",), most_attempts: int = 3) -> dict[str, Any]:
        """Every 202 has its one outcome; what is done is whole; nothing is pending, and no message is left."""
        jobs = list(self.accepted)
        assert len(set(jobs)) == len(jobs), "a guid was given twice"
        with ThreadPoolExecutor(8) as threads:
            statuses = dict(zip(jobs, threads.map(self.ended, jobs), strict=True))
            list(threads.map(self._check, statuses.values()))
        odd = [one for one in statuses.values() if one.status not in ends or one.attempt > most_attempts]
        assert not odd, f"{len(odd)} of {len(jobs)} ended otherwise: {odd[:3]}"
        told = Counter(event["id"] for event in self.cluster.events("job_done", "job_failed") if event["recorded"])
        assert [job_id for job_id, count in told.items() if count > 1] == [], "two outcomes of one job"
        until(lambda: not self.cluster.pending(), why="something stays pending")
        until(lambda: self.cluster.messages() == [0, 0, 0], why="a message is left")
        return statuses

    def _check(self, status: Any) -> None:
        for output in status.outputs:
            content = self.replicas()[0].client.fetch(status.id, output.name)
            assert hashlib.sha256(content).hexdigest() == output.sha256


# Figures, told at the end of a run

Figure = Callable[[str, str], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Tell a figure: what was done, and what came of it."""
    return lambda fault, found: record_property("figure", [fault, found])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [one for report in reports for one in getattr(report, "user_properties", ())]
    told = list(dict.fromkeys(tuple(value) for name, value in properties if name == "figure"))
    if told:
        terminalreporter.section(f"cluster ({'full' if FULL else 'short'})")
        for fault, found in told:
            terminalreporter.line(f"| {fault} | {found} |")
