"""All that a run of the benchmark found, before anything is written about it."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from all_cores import Rates
from one_core import Table
from rows import ROWS, SERVED, Row
from served import Served


@dataclass
class Findings:
    """The figures of one run. What was not measured is empty."""

    machine: str
    photo: str
    """What the photo is."""
    rows: tuple[Row, ...]
    contenders: list[str]
    absent: list[str]
    """Why a contender or a tool took no part."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    table: Table = field(default_factory=dict)
    rates: Rates = field(default_factory=dict)
    served: Served = field(default_factory=dict)

    def title(self, name: str) -> str:
        """A row's, by its name."""
        return next(row.title for row in (*ROWS, *SERVED) if row.name == name)

    def write_json(self, path: Path) -> None:
        """Every raw figure."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def middle(figures: list[float]) -> float:
    """The median."""
    return statistics.median(figures)


def spread(figures: list[float]) -> tuple[float, float]:
    """The quartiles; the figure twice where there is one."""
    if len(figures) < 2:  # noqa: PLR2004  quartiles need two
        return figures[0], figures[0]
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return low, high


def with_spread(figures: list[float]) -> str:
    """The median, and the quartiles in brackets; nothing of nothing."""
    if not figures:
        return ""
    low, high = spread(figures)
    return f"{middle(figures):.2f} ({low:.2f}–{high:.2f})"


def ratio_rounds(above: list[float], below: list[float]) -> list[float]:
    """Quotients, round by round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def table_of(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; the first column holds names, the others figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
