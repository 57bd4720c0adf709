"""The application over a volume or over jobs in memory, and an engine played through the port."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from img_contract import failpoints
from img_contract.config import Config
from img_contract.job.outcome import Facts, Failure, FailureCode, ResultFile
from img_contract.logs import configure_logs
from img_contract.memory import MemoryStore
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import Claim, Jobs, Work
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs
from img_rest.app import create_app

Result = tuple[str, str, int, int]
"""Name, media type, width and height."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the backends of a test by what it uses: the volume's files, an engine (then both), or neither."""
    used = set(metafunc.fixturenames)
    if "backend" in used:
        chosen = ["volume"] if used & {"layout", "notifier"} else ["volume", "memory"] if "work" in used else ["memory"]
        metafunc.parametrize("backend", chosen)


@pytest.fixture(scope="session")
def observers() -> list[Callable[[Mapping[str, Any]], None]]:
    """Who is told of every event."""
    return []


@pytest.fixture(scope="session", autouse=True)
def _logs(observers: list[Callable[[Mapping[str, Any]], None]]) -> None:
    """Log as the service does; structlog's own default takes seconds to draw a traceback."""
    configure_logs("info", "img-rest", lambda event: [observe(event) for observe in observers].clear())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.model_validate(
        {
            "volume": tmp_path / "volume",
            "limits": {"upload_bytes": 100_000, "queue": 20, "free_bytes": 0},
            "http": {"wait_seconds": 20, "long_polls": 2, "uploads": 100},
        }
    )


@pytest.fixture
def layout(config: Config) -> Layout:
    made = Layout(config.volume)
    made.prepare()
    return made


@pytest.fixture
def notifier() -> MemoryNotifier:
    return MemoryNotifier()


@pytest.fixture
def sides(backend: str, request: pytest.FixtureRequest) -> tuple[Jobs, Work]:
    """Both sides of one backend."""
    if backend == "memory":
        store = MemoryStore()
        return store, store.work("engine")
    layout, notifier = request.getfixturevalue("layout"), request.getfixturevalue("notifier")
    return VolumeJobs(layout, notifier), VolumeWork(layout, notifier, "engine")


@pytest.fixture
def jobs(sides: tuple[Jobs, Work]) -> Jobs:
    return sides[0]


@pytest.fixture
def work(sides: tuple[Jobs, Work]) -> Work:
    return sides[1]


@pytest.fixture
def app(config: Config, jobs: Jobs) -> Flask:
    return create_app(config, jobs)


class BufferedClient(FlaskClient):
    """A client that reads each answer to its end, as a server does."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, buffered=True, **kwargs)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    app.test_client_class = BufferedClient
    return app.test_client()


@pytest.fixture(scope="session")
def png() -> bytes:
    """A red PNG of 4 × 3 pixels, made by hand: this package has no imaging library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 4) * 3))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.fixture
def job_id(client: FlaskClient, png: bytes) -> str:
    """The guid of a job that was just submitted."""
    posted: str = client.post("/resize?width=2", data=png).get_json()["id"]
    return posted


@pytest.fixture
def claimed(work: Work) -> Callable[[], Claim]:
    """Claim the next job, waiting for it if there is none yet."""
    return lambda: until(lambda: work.next(0.1))


@pytest.fixture
def finish(claimed: Callable[[], Claim]) -> Callable[..., bytes]:
    """Do the next job as an engine would, and return the content of its first result: 500 bytes of its name."""

    def finished(*results: Result) -> bytes:
        return publish(claimed(), results or [("image.png", "image/png", 2, 1)])

    return finished


def publish(claim: Claim, results: Sequence[Result]) -> bytes:
    contents = [(name.encode() * 500)[:500] for name, *_ in results]
    with claim.files() as files:
        rendered = []
        for number, ((name, media_type, width, height), content) in enumerate(zip(results, contents, strict=True)):
            path = files.target.with_name(f"{files.target.name}{number}")
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            rendered.append(ResultFile(path, name, media_type, width, height, 1, len(content), digest))
        assert claim.publish(rendered, Facts(width=4, height=3, dominant_color="#ff0000", placeholder="aGFzaA=="), ())
    claim.close()
    return contents[0]


@pytest.fixture
def fail(claimed: Callable[[], Claim]) -> Callable[[], None]:
    """Fail the next job as an engine would."""

    def failed() -> None:
        claim = claimed()
        detail = "expected at most 64 megapixels, found 100"
        assert claim.fail(Failure(code=FailureCode.TOO_MANY_PIXELS, detail=detail, limit=64, actual=100))
        claim.close()

    return failed


@pytest.fixture
def failing() -> Callable[[str], AbstractContextManager[None]]:
    """Have the storage of this process fail as a failpoint specifies, for a block."""

    @contextmanager
    def armed(spec: str) -> Iterator[None]:
        failpoints.arm({failpoints.VARIABLE: spec})
        try:
            yield
        finally:
            failpoints.arm({})

    return armed
