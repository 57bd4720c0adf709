"""Rendering on this machine, by img-engine's own rendering in its own children: with the results of a service."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final
from weakref import WeakSet

from img_contract.config import Config
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from img_contract.job.outcome import growth
from img_engine.errors import AttemptSpent, ChildrenBroken
from img_engine.process.pool import Children, children_for_this_machine
from img_engine.process.remote import Rendering
from img_engine.render.task import PictureLimits, Refusal, RenderOutcome, Task, Watermark

from img_client.command.batch import GaveUp, failed
from img_client.command.ending import Ending, Made, State
from img_client.command.parameters import Asked
from img_client.command.plan import Item
from img_client.command.report import Report

_UNKNOWN: Final = "expected a picture of a known format, found none by its first bytes"


class LocalRenderer:
    """Renders in child processes, one for each core, under the limits that a service has by default."""

    def __init__(self, asked: Asked, stdout: BinaryIO, at_once: int | None) -> None:
        config = Config()
        limits, engine = config.limits, config.engine
        self.at_once = at_once or children_for_this_machine(engine.child_bytes)
        self._asked = asked
        self._stdout = stdout
        self._limits = PictureLimits(limits.pixels, limits.frames, engine.child_bytes, limits.animation_pixels)
        self._threads = ThreadPoolExecutor(self.at_once)
        self._closed = False
        self._running: WeakSet[Rendering] = WeakSet()
        self._children = Children(self.at_once, engine.child_bytes, engine.job_seconds)

    def close(self) -> None:
        """Stop what still renders."""
        self._closed = True
        for future in list(self._running):
            future.cancel()
        # Before the children: a rendering that begins would start them anew.
        self._threads.shutdown(cancel_futures=True)
        self._children.stop()

    async def render(self, item: Item, _: Report) -> Ending:
        """Render one picture; see `batch.Renderer`."""
        began = time.monotonic()
        try:
            ending = await asyncio.get_running_loop().run_in_executor(self._threads, self._render, item)
        except AttemptSpent as spent:
            ending = failed(item, "attempts_exhausted", str(spent))
        except ChildrenBroken as broken:
            raise GaveUp(str(broken)) from broken
        ending.seconds = round(time.monotonic() - began, 3)
        return ending

    def _started(self, future: Rendering) -> None:
        self._running.add(future)
        if self._closed:
            future.cancel()

    def _render(self, item: Item) -> Ending:
        folder = item.target.folder if item.target else None
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        # Beside the results, so that they appear by a rename.
        with TemporaryDirectory(prefix=".img-", dir=folder) as draft:
            if isinstance(item.source, bytes):
                source = Path(draft, "source")
                source.write_bytes(item.source)
            else:
                source = item.source.resolve()  # the engine follows no links
            if not source.stat().st_size:
                return failed(item, "upload_missing", "expected a picture, found an empty file")
            task = self._task(source, Path(draft, "result"))
            if task is None:
                return failed(item, "not_a_picture", _UNKNOWN)
            try:
                rendered = self._children.render(task, self._started)
            except CancelledError:
                raise ChildrenBroken("stopped") from None
            if isinstance(rendered, Refusal):
                return failed(item, rendered.failure.code, rendered.failure.detail)
            return self._published(item, rendered, source.stat().st_size)

    def _task(self, source: Path, target: Path) -> Task | None:
        kind, mark = _format_of(source), None
        if kind is None:
            return None
        if path := self._asked.watermark:
            mark_kind = _format_of(path)
            if mark_kind is None:
                raise GaveUp(f"{path}: {_UNKNOWN}")
            mark = Watermark(path.resolve(), mark_kind)
        return Task(source, kind, self._asked.resize, target, self._limits, watermark=mark)

    def _published(self, item: Item, rendered: RenderOutcome, before: int) -> Ending:
        several = bool(self._asked.resize.variants)
        made = []
        for file in rendered.files:
            if item.target is None:
                path = None
                self._stdout.write(file.path.read_bytes())
            else:
                path = item.target.path_of(file.media_type, file.name if several else None)
                file.path.replace(path)
            made.append(
                Made(
                    path=path and str(path),
                    **{name: getattr(file, name) for name in Made.model_fields if name != "path"},
                )
            )
        return Ending(
            file=item.shown,
            state=State.DONE,
            bytes=before,
            outputs=made,
            warnings=[*rendered.warnings, *growth(before, rendered.files)],
        )


def _format_of(path: Path) -> Format | None:
    with path.open("rb") as file:
        return sniff(file.read(SIGNATURE_BYTES))
