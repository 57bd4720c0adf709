"""Pictures made on the spot, and a function that renders one as a child would, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_contract.formats import SIGNATURE_BYTES, sniff
from img_contract.job import Resize
from img_engine.child import Refusal, Render, Task, render
from img_engine.opening import PictureLimits, configure_decoders
from PIL import Image

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30)

Renders = Callable[..., tuple[Image.Image, Render]]


@pytest.fixture(autouse=True, scope="session")
def _decoders() -> None:
    configure_decoders()


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Render | Refusal]:
    """Render some bytes; give what the child gives."""

    def attempted(data: bytes, **parameters: Any) -> Render | Refusal:
        source = tmp_path / "source"
        source.write_bytes(data)
        kind = sniff(data[:SIGNATURE_BYTES])
        assert kind is not None, "the picture's format is not one that would be accepted"
        ask = Resize.model_validate(parameters)
        return render(Task(source, kind, ask, tmp_path / "result", LIMITS, cpu_seconds=3600))

    return attempted


@pytest.fixture
def rendered(attempt: Callable[..., Render | Refusal]) -> Renders:
    """Render some bytes; give the decoded result and what the child says of it."""

    def successfully(data: bytes, **parameters: Any) -> tuple[Image.Image, Render]:
        result = attempt(data, **parameters)
        assert isinstance(result, Render), f"failed: {result}"
        with Image.open(result.rendered.path) as image:
            image.load()
            assert image.size == (result.rendered.width, result.rendered.height)
            assert Image.MIME[image.format or ""] == result.rendered.media_type
            return image, result

    return successfully
