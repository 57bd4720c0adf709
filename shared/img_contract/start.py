"""The first moments of a command, before it has imported what takes long."""

from __future__ import annotations

import os
import signal
from types import FrameType


def exit_on_signals() -> None:
    """End at once on SIGTERM and SIGINT, until the command handles them itself: nothing is under way yet.

    The kernel gives the first process of a container no signal that it does not handle.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
