"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

from contenders import Worker

CORES: Final = len(os.sched_getaffinity(0))
CLIENTS: Final = 3 * CORES
"""Of a server, at the same time."""


def machine() -> str:
    """The processor, its cores and the operating system, in a line."""
    cpu = _line("/proc/cpuinfo", "model name") or platform.machine()
    memory = int((_line("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20
    return f"{cpu}, {CORES} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions(workers: list[Worker]) -> dict[str, dict[str, str]]:
    """By contender, of everything that it told."""
    told = {worker.name: worker.ask(do="versions")["versions"] for worker in workers}
    return {name: {part: version for part, version in parts.items() if version} for name, parts in told.items()}


def _line(path: str, key: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None
