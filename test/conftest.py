"""Services that are stopped at the end of a test, and pictures to send them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import TOP, Service
from PIL import Image


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Make a service that is not started yet; whatever of it was started is stopped at the end."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        folder = tmp_path / f"service-{len(made)}"
        folder.mkdir()
        made.append(Service(folder, **settings))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A running service with one engine."""
    running = make_service()
    running.start_rest()
    running.start_engine()
    return running


@pytest.fixture(scope="session")
def photo() -> bytes:
    """The sample picture: 1800 × 1200 once it is upright (EXIF orientation 6)."""
    return (TOP / "photo.jpg").read_bytes()


@pytest.fixture(scope="session")
def slow_photo() -> bytes:
    """A picture that takes seconds: noise, to be encoded as AVIF at full size."""
    buffer = io.BytesIO()
    Image.effect_noise((2400, 2000), 90).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def slow() -> dict[str, Any]:
    """What makes `slow_photo` slow."""
    return {"width": 2000, "format": "avif"}
