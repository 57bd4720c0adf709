"""Calls of either client, against the service in real processes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from img_client import AsyncClient, Client
from img_testing.service import Service
from PIL import Image

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Service:
    """A running service that lists its jobs."""
    made = standing(IMG_ACCESS__LIST="true")
    made.start_rest()
    made.start_engine()
    return made


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Callable[..., Call]:
    """Make a function that calls a method of a client by its name, and gives what that gives."""

    def make(url: str, **settings: Any) -> Call:
        def call(method: str, *arguments: Any, **options: Any) -> Any:
            if request.param == "sync":
                with Client(url, **settings) as client:
                    return getattr(client, method)(*arguments, **options)

            async def awaited() -> Any:
                async with AsyncClient(url, **settings) as client:
                    return await getattr(client, method)(*arguments, **options)

            return asyncio.run(awaited())

        return call

    return make


@pytest.fixture(scope="session")
def png() -> bytes:
    """A picture of 40 × 30 pixels."""
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 60).save(buffer, "PNG")
    return buffer.getvalue()
