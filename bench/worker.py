"""The contenders' workers in Python: a JSON object a line in, one a line out, until the input ends.

`{"do": "versions"}`, `{"do": "render", "row": …, "times": n}`, `{"do": "flood", "row": …, "seconds": s}`,
`{"do": "save", "row": …, "folder": …}`. An answer is `{"error": …}` if the contender cannot do the row.
worker_sharp.js speaks the same.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Contender(Protocol):
    """What resizes."""

    def versions(self) -> dict[str, str | None]:
        """Of the parts that matter."""

    def job(self, row: dict[str, Any]) -> Callable[[], int]:
        """What does the row once and returns the bytes of its results."""

    def save(self, row: dict[str, Any], folder: Path) -> list[str]:
        """Write the row's results, in the order of its widths. Returns the paths."""


def serve(contender: Contender) -> None:
    """Answer each line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        try:
            answer = _answer(contender, json.loads(line))
        except Exception as error:  # noqa: BLE001  the driver reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(contender: Contender, asked: dict[str, Any]) -> dict[str, Any]:
    if asked["do"] == "versions":
        return {"versions": contender.versions()}
    if asked["do"] == "save":
        return {"files": contender.save(asked["row"], Path(asked["folder"]))}
    job = contender.job(asked["row"])
    if asked["do"] == "flood":
        return _flood(job, asked["seconds"])
    return _render(job, asked["times"])


def _render(job: Callable[[], int], times: int) -> dict[str, Any]:
    """CPU and wall time a run in milliseconds; CPU of all threads."""
    size = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        size = job()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_ms": cpu / times * 1000, "wall_ms": wall / times * 1000, "bytes": size}


def _flood(job: Callable[[], int], seconds: float) -> dict[str, Any]:
    """One run after the other for so long."""
    images = 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        job()
        images += 1
    return {"images": images, "seconds": passed}
