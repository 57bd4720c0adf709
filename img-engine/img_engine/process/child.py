"""What runs in a child process: one task after the other, under limits.

A child may be killed at any moment. It owns nothing but the files it writes; the parent publishes those.
"""

from __future__ import annotations

import os
import resource
import signal
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from traceback import format_exc
from typing import Any, Final

from img_contract.failpoints import arm
from img_contract.process import end_with_parent

from img_engine.render.task import Refusal, RenderOutcome, Task

_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
"""Which process the kernel ends first when memory runs out: the highest, 1000 (proc_pid_oom_score_adj(5))."""


def serve(pipe: Connection[Any, Any], taken: Any, address_space_bytes: int) -> None:
    """Send a word once it has started, then carry out what comes through the pipe, one call after the other.

    The shared number `taken` counts the calls. The answer is whether the call returned, and what it returned or raised.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the engine, which lets its children finish
    start_child(address_space_bytes)
    pipe.send(None)
    while True:
        function, arguments = pipe.recv()
        taken.value += 1
        try:
            answer = True, function(*arguments)
        except Exception as error:  # noqa: BLE001  it is raised again in the parent
            error.add_note(format_exc())
            answer = False, error
        pipe.send(answer)


def start_child(address_space_bytes: int) -> None:
    """Prepare a new child: limit its memory, and end it when its parent ends."""
    _die_before_parent()
    _yield_to_short_work()
    _write_to_nowhere()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    with suppress(ValueError, OSError):  # macOS refuses; the engine logs that
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    arm(os.environ)
    warnings.simplefilter("ignore")  # Pillow's remarks on odd tags; what matters is in the job's own warnings
    end_with_parent()  # nobody would publish what is made here


def memory_is_limited() -> bool:
    """Return whether this process has a limit of its memory."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def render_within(task: Task, cpu_seconds: int) -> RenderOutcome | Refusal:
    """Render one upload; past so many seconds of CPU from now on the kernel ends the process (SIGXCPU)."""
    # Imported here: the parent, which names this function, has no use for imaging libraries.
    from img_engine.render.render import render  # noqa: PLC0415

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    return render(task)


def _write_to_nowhere() -> None:
    """Take stdout and stderr away from libraries in C, also after the fork server was started anew: see `pool`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def _yield_to_short_work() -> None:
    """Be scheduled as a batch: who wakes to do little, as img-rest and the engine do all the time, is not interrupted.

    A child gets no less time for that. See sched(7).
    """
    if hasattr(os, "sched_setscheduler"):  # macOS has none
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _die_before_parent() -> None:
    """Let the kernel end a child when memory runs out, which costs one attempt, and not the parent with all jobs."""
    with suppress(OSError):  # only Linux has it; a child may always raise its own
        _OOM_SCORE.write_text("1000")
