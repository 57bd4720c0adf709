"""A server in its real processes: started, asked whether it answers, looked at, and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final

import psutil
from client import Plan, connect
from rows import Row

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0

CHILDREN: Final = "'s children"
"""What the name of a command is followed by for the CPU time of its children."""


class ServerFailedError(Exception):
    """A server does not start, or does not answer as it should; the text says why."""


@dataclass(frozen=True)
class Server:
    """How a server is started and asked."""

    name: str
    port: int
    commands: Mapping[str, Sequence[str | Path]]
    """By name: what is started, one process each."""
    plan: Callable[[Row], Plan]
    """What a client asks it for to get a row's results."""
    ready: str = "/"
    """A path that it answers once it is up, with whatever status below 500."""
    environment: Mapping[str, str] = field(default_factory=dict)


class Usage:
    """CPU time and memory of some processes and of all that they have started."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in pids.items()}

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: of each process, and of its children together, those that have ended included."""
        used = {}
        for name, root in self._roots.items():
            of_root = root.cpu_times()
            used[name] = of_root.user + of_root.system
            used[name + CHILDREN] = of_root.children_user + of_root.children_system
            for child in root.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    used[name + CHILDREN] += sum(child.cpu_times()[:4])
        return used

    def pss(self) -> int:
        """Bytes of memory now: proportional set size, so that what processes share counts once."""
        total = 0
        for root in self._roots.values():
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_full_info().pss
        return total


@contextmanager
def started(server: Server, folder: Path) -> Iterator[Usage]:
    """Run a server until the end of the block, with its logs in a folder. Raises ServerFailedError."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in server.commands.items():
            with (folder / f"{server.name}-{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    command,
                    env=os.environ | server.environment,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        _wait_ready(server, processes, folder)
        yield Usage({name: process.pid for name, process in processes.items()})
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            _wait_ended(process)


def _wait_ready(server: Server, processes: Mapping[str, subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(server):
        ended = [name for name, process in processes.items() if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            logs = [(folder / f"{server.name}-{name}.log").read_text(errors="replace") for name in processes]
            raise ServerFailedError(f"does not start: {' '.join(logs)[-500:].strip()}")
        time.sleep(0.05)


def _answers(server: Server) -> bool:
    connection = connect(server.port)
    try:
        connection.request("GET", server.ready)
        return connection.getresponse().status < HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _wait_ended(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that outlived it, and itself if it did not end
    process.wait()
