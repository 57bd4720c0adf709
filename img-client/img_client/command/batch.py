"""Rendering many pictures, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from img_client.command.ending import Ending, State
from img_client.command.plan import Item
from img_client.command.report import Report


class Renderer(Protocol):
    """What makes a picture's results: a service, or this machine."""

    async def render(self, item: Item, report: Report) -> Ending:
        """Render one picture; what is wrong with it is in the ending. All that it raises but GaveUp fails it alone."""


class GaveUp(Exception):
    """No picture can be rendered now; the message says why."""


async def render_all(items: Iterable[Item], renderer: Renderer, at_once: int, report: Report) -> None:
    """Render each picture, and report its ending as soon as it is known. Raises GaveUp."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            report.ended(await _ending(renderer, item, report))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except* (GaveUp, BrokenPipeError) as several:  # the latter is stdout's
        reason = several.exceptions[0]
    else:
        return
    raise reason


async def _ending(renderer: Renderer, item: Item, report: Report) -> Ending:
    """Render one picture; whatever goes wrong with it stops no other."""
    try:
        return await renderer.render(item, report)
    except GaveUp:
        raise
    except OSError as error:
        code = "file_error"
        detail = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    except Exception as error:  # noqa: BLE001  see above
        code, detail = "client_error", f"{type(error).__name__}: {error}"
    return failed(item, code, detail)


def failed(item: Item, code: str, detail: str) -> Ending:
    """Return the ending of a picture that failed on this side."""
    return Ending(file=item.shown, state=State.FAILED, code=code, detail=detail)
