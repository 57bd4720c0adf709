"""The first moments of a command, before it has imported what takes long."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def exit_on_signals() -> None:
    """End at once on SIGTERM and SIGINT, until the command handles them itself: nothing is under way yet.

    The kernel gives the first process of a container no signal that it does not handle.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


@contextmanager
def importing() -> Iterator[None]:
    """Import without the garbage collector, which would walk over all modules again and again: a fifth of the CPU.

    They stay as long as the process, so it does not look at them afterwards, either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _exit(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
