"""The contenders' processes: started once, told what to do line by line, pinned to a core where that is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import ours
from lines import LineProcess

HERE: Final = Path(__file__).resolve().parent
EXTRA_PYTHON: Final = HERE / ".venv" / "bin" / "python"
"""The Python that has what only the benchmark needs."""

NAMES: Final = ("ours", "sharp", "pyvips")

BEFORE: Final = "before"
"""The name of ours at another commit."""


class Worker(LineProcess):
    """One process of a contender."""

    def __init__(
        self, name: str, work: Path, core: int | None, *, all_cores: bool = False, before: Path | None = None
    ) -> None:
        environment = os.environ | (ours.child_environment() if name in ("ours", BEFORE) else {})
        if not all_cores:
            environment |= {"VIPS_CONCURRENCY": "1"}
        super().__init__(name, _command(name, work, before, all_cores=all_cores), environment)
        if core is not None:
            os.sched_setaffinity(self.pid, {core})


def absent(name: str) -> str | None:
    """Why a contender cannot take part; None if it can."""
    if name == "sharp" and not (shutil.which("node") and (HERE / "node_modules" / "sharp").exists()):
        return "sharp is not installed"
    if name == "pyvips" and not extra_has("pyvips"):
        return "pyvips is not installed"
    return None


def extra_has(module: str) -> bool:
    """Whether the benchmark's own environment is there and has this module."""
    if not EXTRA_PYTHON.exists():
        return False
    return subprocess.run([EXTRA_PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def _command(name: str, work: Path, before: Path | None, *, all_cores: bool) -> list[str | Path]:
    speed = str(ours.avif_speed())
    if name == BEFORE and before is not None:
        return [before / ".venv" / "bin" / "python", before / "bench" / "worker_ours.py", work]
    match name:
        case "ours":
            return [sys.executable, HERE / "worker_ours.py", work]
        case "sharp":
            return ["node", HERE / "worker_sharp.js", speed, "all-cores" if all_cores else "one-core"]
        case _:
            return [EXTRA_PYTHON, HERE / "worker_pyvips.py", speed]
