"""Pictures made on the spot, and a function that renders one as a child would, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from img_contract.job.resize import Resize
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task, Watermark
from PIL import Image

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)

Renders = Callable[..., tuple[Image.Image, RenderOutcome]]


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., RenderOutcome | Refusal]:
    """Render some bytes; give what the child gives."""

    def attempted(
        data: bytes,
        *,
        limits: dict[str, int] | None = None,
        watermark: bytes | None = None,
        accept: tuple[Format, ...] = (),
        planes_from: int | None = Task.planes_from,
        **parameters: Any,
    ) -> RenderOutcome | Refusal:
        task = Task(
            *written("source", data),
            Resize.model_validate(parameters),
            tmp_path / "result",
            replace(LIMITS, **(limits or {})),
            watermark=Watermark(*written("watermark", watermark)) if watermark else None,
            accept=accept,
            planes_from=planes_from,
        )
        return render(task)

    def written(name: str, data: bytes) -> tuple[Path, Format]:
        (tmp_path / name).write_bytes(data)
        kind = sniff(data[:SIGNATURE_BYTES])
        assert kind is not None, "the picture's format is not one that would be accepted"
        return tmp_path / name, kind

    return attempted


@pytest.fixture
def rendered(attempt: Callable[..., RenderOutcome | Refusal]) -> Renders:
    """Render some bytes; give the decoded result and what the child says of it."""

    def successfully(data: bytes, **parameters: Any) -> tuple[Image.Image, RenderOutcome]:
        result = attempt(data, **parameters)
        assert isinstance(result, RenderOutcome), f"failed: {result}"
        first = result.files[0]
        with Image.open(first.path) as image:
            image.load()
            assert image.size == (first.width, first.height)
            assert Image.MIME[image.format or ""] == first.media_type
            return image, result

    return successfully
