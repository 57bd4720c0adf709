"""All that the benchmark knows of the engine. The engine's API may change; then this module does, and no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pydantic
from img_contract.config import Config
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from img_engine.process import pool
from img_engine.render.formats import ENCODERS
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task
from PIL import features


class NotThereYetError(Exception):
    """The engine cannot do this."""


class EngineRefusedError(Exception):
    """The engine refused a picture of the benchmark."""


def child_environment() -> dict[str, str]:
    """The environment variables that the engine starts its children with, beside its own."""
    return dict(pool.CHILD_ENVIRONMENT)


def avif_speed() -> int:
    """The speed of libavif (0 slow, 10 fast) that the engine encodes with."""
    return int(ENCODERS[Format.AVIF].save_options(Resize(width=1))["speed"])


def versions() -> dict[str, str | None]:
    """What decodes, scales and encodes."""
    names = {"libjpeg-turbo": "libjpeg_turbo", "zlib-ng": "zlib_ng", "libwebp": "webp", "libavif": "avif"}
    packages = ("img-engine", "pillow", "cykooz-resizer")
    return {name: version(name) for name in packages} | {name: features.version(key) for name, key in names.items()}


def task(row: dict[str, Any], target: Path) -> Task:
    """The engine's task for a row; `target` is a file name of its own. Raises NotThereYetError."""
    config = Config()
    widths = row["widths"]
    size = {"width": widths[0]} if len(widths) == 1 else {"variants": ",".join(f"{width}w" for width in widths)}
    try:
        options = Resize.model_validate({**size, "format": row["format"], "quality": row["quality"]})
    except pydantic.ValidationError as error:
        raise NotThereYetError(f"the engine takes no such job yet: {', '.join(size)}") from error
    limits = PictureLimits(
        pixels=config.limits.pixels,
        frames=config.limits.frames,
        memory=config.engine.child_bytes,
        animation_pixels=config.limits.animation_pixels,
    )
    return Task(Path(row["path"]), Format(row["source"]), options, target, limits)


def run(job: Task) -> list[Path]:
    """Render one task here. Returns the files that were written. Raises EngineRefusedError."""
    return _files(render(job))


def _files(ended: RenderOutcome | Refusal) -> list[Path]:
    if isinstance(ended, Refusal):
        raise EngineRefusedError(ended.failure.detail)
    return [each.path for each in ended.files]


def bare_pool(children: int) -> tuple[Callable[[Task], list[Path]], Callable[[], None]]:
    """So many of the engine's children without the service: what renders in one of them, and what stops them."""
    config = Config()
    os.environ.update(child_environment())
    pooled = pool.Children(children, config.engine.child_bytes, config.engine.job_seconds)
    pooled.wait_ready()
    return lambda job: _files(pooled.render(job, lambda _: None)), pooled.stop
