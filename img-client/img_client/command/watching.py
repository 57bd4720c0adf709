"""`img watch`: what comes into a folder is rendered, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from img_client.command.batch import render_all
from img_client.command.parameters import Asked
from img_client.command.plan import leave_out_current, make_plan
from img_client.command.renderers import INTERRUPTED, OK, SOME_FAILED, How, renderer, run
from img_client.command.report import Report
from img_client.command.sources import find_sources

_LOOK_SECONDS: Final = 0.5

_Version = tuple[int, int]
"""Size in bytes and time of the last change, of a file."""


def watch(folder: Path, out: Path, asked: Asked, how: How, *, recursive: bool) -> int:
    """Render what comes into a folder; return the exit status once it is interrupted."""
    with Report(None, as_json=how.as_json, each=True) as report:
        status = run(_watch(_Folder(folder, out, recursive=recursive), asked, how, report), None)
        report.finish()
    return status if status not in (OK, INTERRUPTED) else (SOME_FAILED if report.failed else OK)


class _Folder:
    """A folder, and what was seen in it."""

    def __init__(self, folder: Path, out: Path, *, recursive: bool) -> None:
        self.out = out
        self._folder = folder
        self._recursive = recursive
        self._seen: dict[Path, _Version] = {}
        self._given: dict[Path, _Version] = {}

    def ready(self) -> list[tuple[Path, Path]]:
        """Return the files that are new or changed, each with its path below `out`, once nobody writes to them."""
        found = {
            source: (below, _version(source))
            for source, below in find_sources([str(self._folder)], recursive=self._recursive, out=self.out)
        }
        # Two looks have to see the same: what is being copied into the folder grows.
        settled = {
            source: version
            for source, (_, version) in found.items()
            if version and self._seen.get(source) == version != self._given.get(source)
        }
        self._seen = {source: version for source, (_, version) in found.items() if version}
        self._given = {source: self._given[source] for source in found if source in self._given} | settled
        return [(source, found[source][0]) for source in settled]


async def _watch(folder: _Folder, asked: Asked, how: How, report: Report) -> None:
    async with renderer(asked, how, report) as (by, at_once):
        while True:
            if ready := await asyncio.to_thread(folder.ready):
                plan = make_plan(iter(ready), [], folder.out, asked.resize)
                if not how.force:
                    leave_out_current(plan, asked.resize, asked.watermark)
                await render_all(plan.items, by, at_once, report)
            await asyncio.sleep(_LOOK_SECONDS)


def _version(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
