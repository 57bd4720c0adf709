"""Services that are stopped at the end, and pictures to send them. pytest loads this where the package is installed."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

pytest.register_assert_rewrite("img_testing.service", "img_testing.witness", "img_testing.raw_http")

from img_testing.service import TOP, Service  # noqa: E402  after its asserts were registered


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started them in the background and so ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take longest, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _maker(folders: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**settings: str) -> Service:
        made.append(Service(folders.mktemp("service"), **settings))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def make_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Make a service that is not started yet; whatever of it was started is stopped at the end of the test."""
    yield from _maker(tmp_path_factory)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """The same, for all tests of a module."""
    yield from _maker(tmp_path_factory)


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Service:
    """A running service with one engine, for all tests of a module: none of them stops any of it."""
    return _started(standing())


@pytest.fixture
def own_service(make_service: Callable[..., Service]) -> Service:
    """A running service with one engine, for a test that stops or kills some of it."""
    return _started(make_service())


def _started(service: Service) -> Service:
    service.start_rest()
    service.start_engine()
    return service


@pytest.fixture(scope="session")
def photo() -> bytes:
    """The sample picture: 1800 × 1200 once it is upright (EXIF orientation 6)."""
    return (TOP / "photo.jpg").read_bytes()


@pytest.fixture(scope="session")
def slow_photo() -> bytes:
    """A picture that takes seconds: noise, to be encoded as AVIF."""
    buffer = io.BytesIO()
    Image.effect_noise((2400, 2000), 90).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def slow() -> dict[str, Any]:
    """What makes `slow_photo` slow."""
    return {"width": 1200, "format": "avif"}
