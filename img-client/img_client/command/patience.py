"""How long a service that does not answer, or is full, is asked again."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Final

from img_client import ImgError, Unavailable, Unreachable
from img_client.command.batch import GaveUp
from img_client.command.report import Report

_PAUSE_SECONDS: Final = 2.0
"""Between two tries of a service that does not answer and names no time."""

_BY_ANOTHER: Final = "idempotency_key_in_use"
"""The same picture is being sent, by another process."""


class Patience:
    """Seconds that a service may be away, since something went well."""

    def __init__(self, server: str, seconds: float) -> None:
        self.seconds = seconds
        self._server = server
        self._failing_since: float | None = None

    async def wait(self, error: ImgError, report: Report) -> None:
        """Wait before the next try. Raises GaveUp if there is none: the service has been away for too long."""
        report.note(f"{error.detail}; trying again")
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        left = self._failing_since + self.seconds - now
        pause = min(_PAUSE_SECONDS, left) if error.retry_after is None else error.retry_after
        if left <= 0 or pause > left:
            raise GaveUp(explained(error, self._server)) from error
        await asyncio.sleep(pause)

    def restored(self, report: Report) -> None:
        """Begin anew: something went well."""
        self._failing_since = None
        report.note(None)


def may_pass(error: ImgError) -> bool:
    """Return whether the same request may go well later."""
    return isinstance(error, Unreachable | Unavailable) or error.code == _BY_ANOTHER


def no_such_host(error: BaseException | None) -> bool:
    """Return whether an error comes from a name that no host has."""
    while error:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def explained(error: ImgError, server: str) -> str:
    """Return what a person is told of an error that concerns no single picture."""
    if isinstance(error, Unreachable):
        return f"no service answers at {server}; --server or IMG_SERVER says where it is ({error.detail})"
    return ": ".join(filter(None, [error.code, error.detail]))
