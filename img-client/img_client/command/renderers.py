"""How pictures are rendered: by a service or on this machine, and what a person has to wait for."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from img_contract.http_models import Limits

from img_client import AsyncClient, ImgError
from img_client.command.batch import GaveUp, Renderer
from img_client.command.parameters import Asked
from img_client.command.patience import Patience, explained, may_pass, no_such_host
from img_client.command.report import Report
from img_client.command.service import ServiceRenderer

OK: Final = 0
SOME_FAILED: Final = 1
INTERRUPTED: Final = 130
"""As shells have it: 128 and the number of SIGINT."""

_MOST_AT_ONCE: Final = 8


@dataclass(frozen=True)
class How:
    """How pictures are rendered and reported."""

    at_once: int | None
    """How many at once; None: as many as are good."""
    as_json: bool
    local: bool
    force: bool
    """Render what is there, too."""
    server: str
    key: str | None
    patience: float
    """Seconds that a service may be away."""


def run(work: Coroutine[Any, Any, None], interrupted: str | None) -> int:
    """Do some work until its end, or until it gives up or is interrupted; return the exit status."""
    try:
        asyncio.run(_until_sigterm(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        if interrupted:
            sys.stderr.write(f"img: {interrupted}\n")
        return INTERRUPTED
    except GaveUp as error:
        sys.stderr.write(f"img: {error}\n")
        return SOME_FAILED
    return OK


async def _until_sigterm(work: Coroutine[Any, Any, None]) -> None:
    """Do some work; SIGTERM cancels it. SIGINT could not stand for it: shells have background jobs ignore that."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    before = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        await task
    finally:
        signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def renderer(asked: Asked, how: How, report: Report) -> AsyncIterator[tuple[Renderer, int]]:
    """Give what renders, and how many pictures it is to be given at once. Raises GaveUp if none can."""
    stdout = sys.stdout.buffer
    if how.local:
        try:
            # Imaging libraries take half a second to load, and may not be installed.
            from img_client.command.local import LocalRenderer  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise GaveUp(f"--local needs img-engine, which is not installed: {missing}") from None
        local = LocalRenderer(asked, stdout, how.at_once)
        try:
            yield local, local.at_once
        finally:
            local.close()
        return
    # Only a connection that broke is mended at once; what takes longer is told, and waited for by the renderer.
    async with AsyncClient(how.server, api_key=how.key, retries=1, longest_pause=1) as client:
        patience = Patience(how.server, how.patience)
        limits = await _limits(client, patience, how.server, report)
        at_once = how.at_once or min(_MOST_AT_ONCE, limits.uploads)
        yield ServiceRenderer(client, how.server, asked, stdout, fresh=how.force, patience=patience), at_once


async def _limits(client: AsyncClient, patience: Patience, server: str, report: Report) -> Limits:
    """Return what a service accepts, once it answers: it may just be starting. Raises GaveUp."""
    while True:
        try:
            limits = await client.limits()
        except ImgError as error:
            if not may_pass(error) or no_such_host(error):
                raise GaveUp(explained(error, server)) from error
            await patience.wait(error, report)
        else:
            patience.restored(report)
            return limits
