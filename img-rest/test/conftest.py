"""The application on a real volume, with the notifier in memory, and an engine's part played through the store."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.job.outcome import Facts, Failure, FailureCode, ResultFile
from img_contract.notify.zmq_pair import MemoryNotifier
from img_contract.ports import Claim
from img_contract.volume.store import VolumeStore
from img_rest.app import create_app


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
def store(config: Config) -> VolumeStore:
    made = VolumeStore(config.volume)
    made.prepare()
    return made


@pytest.fixture
def notifier() -> MemoryNotifier:
    return MemoryNotifier()


@pytest.fixture
def app(config: Config, store: VolumeStore, notifier: MemoryNotifier) -> Flask:
    return create_app(config, store, notifier)


class BufferedClient(FlaskClient):
    """A client that reads each answer to its end, as a server does."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, buffered=True, **kwargs)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    app.test_client_class = BufferedClient
    return app.test_client()


@pytest.fixture
def png() -> bytes:
    """A red PNG of 4 × 3 pixels, made by hand: this package has no imaging library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 4) * 3))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.fixture
def claimed(store: VolumeStore) -> Callable[[str], Claim]:
    """Take a job as an engine would."""

    def claim(job_id: str) -> Claim:
        taken = store.claim(job_id, "engine")
        assert taken is not None
        return taken

    return claim


@pytest.fixture
def finish(claimed: Callable[[str], Claim]) -> Callable[..., bytes]:
    """Do a job as an engine would; give the file's bytes."""

    def finished(job_id: str, content: bytes = b"0123456789" * 50) -> bytes:
        claim = claimed(job_id)
        path = claim.workspace / "part"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        claim.publish(
            [ResultFile(path, "image.png", "image/png", 2, 1, 1, len(content), digest)], Facts(width=4, height=3), ()
        )
        return content

    return finished


@pytest.fixture
def fail(claimed: Callable[[str], Claim]) -> Callable[[str], None]:
    """Fail a job as an engine would."""

    def failed(job_id: str) -> None:
        failure = Failure(
            code=FailureCode.TOO_MANY_PIXELS, detail="expected at most 64 megapixels, found 100", limit=64, actual=100
        )
        claimed(job_id).fail(failure)

    return failed
