"""Pictures made on the spot, and a function that renders one as a child would, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from img_contract.job.resize import Resize
from img_engine.process.child import Refusal, Render, Stamp, Task, render
from img_engine.render.picture import PictureLimits
from img_engine.render.reading.opening import configure_decoders
from PIL import Image

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)

Renders = Callable[..., tuple[Image.Image, Render]]


@pytest.fixture(autouse=True, scope="session")
def _decoders() -> None:
    configure_decoders()


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Render | Refusal]:
    """Render some bytes; give what the child gives."""

    def attempted(
        data: bytes,
        *,
        limits: dict[str, int] | None = None,
        watermark: bytes | None = None,
        accept: tuple[Format, ...] = (),
        **parameters: Any,
    ) -> Render | Refusal:
        task = Task(
            *written("source", data),
            Resize.model_validate(parameters),
            tmp_path / "result",
            replace(LIMITS, **(limits or {})),
            cpu_seconds=3600,
            watermark=Stamp(*written("watermark", watermark)) if watermark else None,
            accept=accept,
        )
        return render(task)

    def written(name: str, data: bytes) -> tuple[Path, Format]:
        (tmp_path / name).write_bytes(data)
        kind = sniff(data[:SIGNATURE_BYTES])
        assert kind is not None, "the picture's format is not one that would be accepted"
        return tmp_path / name, kind

    return attempted


@pytest.fixture
def rendered(attempt: Callable[..., Render | Refusal]) -> Renders:
    """Render some bytes; give the decoded result and what the child says of it."""

    def successfully(data: bytes, **parameters: Any) -> tuple[Image.Image, Render]:
        result = attempt(data, **parameters)
        assert isinstance(result, Render), f"failed: {result}"
        first = result.rendered[0]
        with Image.open(first.path) as image:
            image.load()
            assert image.size == (first.width, first.height)
            assert Image.MIME[image.format or ""] == first.media_type
            return image, result

    return successfully
