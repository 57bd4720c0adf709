"""CPU time an image on one core: every contender does every row a few times in every round, one after the other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contenders import Worker
from lines import WorkerFailedError
from rows import Row

_VISIT_MS: Final = 200.0
"""CPU time of a visit: as many runs as fit, and at least one."""

_WARM_RUNS: Final = 2


@dataclass
class Figures:
    """What one contender needs for one row."""

    times: int = 1
    """Runs a visit."""
    cpu_ms: list[float] = field(default_factory=list)
    """CPU milliseconds an image, a figure a round."""
    bytes: int = 0
    """Size of the result, or of all its variants."""
    files: list[str] = field(default_factory=list)
    """One result, kept to be looked at."""
    failed: str | None = None
    """Why the contender does not do this row."""
    ssim: float | None = None
    delta_e: float | None = None
    """Fidelity: against the exact result."""


Table = dict[str, dict[str, Figures]]
"""Figures by row, then by contender."""


def warm_up(workers: Sequence[Worker], rows: Sequence[Row], pictures: Path, results: Path) -> Table:
    """Let each contender do each row: its results are kept, and it is found out how many runs make a visit."""
    table: Table = {}
    for row in rows:
        told = row.told(str(pictures))
        table[row.name] = {worker.name: _warmed(worker, told, results) for worker in workers}
    return table


def _warmed(worker: Worker, told: dict[str, Any], results: Path) -> Figures:
    try:
        files = worker.ask(do="save", row=told, folder=str(results))["files"]
        warm = worker.ask(do="render", row=told, times=_WARM_RUNS)
    except WorkerFailedError as error:
        return Figures(failed=str(error))
    return Figures(times=max(1, math.floor(_VISIT_MS / warm["cpu_ms"])), bytes=warm["bytes"], files=files)


def measure_round(workers: Sequence[Worker], rows: Sequence[Row], pictures: Path, table: Table) -> None:
    """One round; its figures are appended to the table."""
    for row in rows:
        told = row.told(str(pictures))
        for worker in workers:
            figures = table[row.name][worker.name]
            if figures.failed is None:
                figures.cpu_ms.append(worker.ask(do="render", row=told, times=figures.times)["cpu_ms"])


def ratios(of_row: dict[str, Figures], other: str) -> list[float]:
    """The other's CPU time ÷ ours in each round: above 1, ours is the faster one. Empty if one of them has none."""
    if other not in of_row:
        return []
    return [theirs / mine for theirs, mine in zip(of_row[other].cpu_ms, of_row["ours"].cpu_ms, strict=False)]


def geometric_mean(table: Table, other: str) -> float | None:
    """Of the rows' median ratios; None without any."""
    medians = [statistics.median(found) for of_row in table.values() if (found := ratios(of_row, other))]
    return statistics.geometric_mean(medians) if medians else None
