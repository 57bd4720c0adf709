"""Images a second on all cores, by the wall clock: one of our processes a core against one sharp with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from contenders import Worker
from rows import Row

_SECONDS: Final = 1.5

Rates = dict[str, dict[str, list[float]]]
"""Images a second by row, then by contender; a figure a round."""


def measure_round(teams: dict[str, list[Worker]], rows: Sequence[Row], pictures: Path, rates: Rates) -> None:
    """One round: on each row, each team in turn has the machine for itself."""
    for row in rows:
        told = row.told(str(pictures))
        for name, team in teams.items():
            rates.setdefault(row.name, {}).setdefault(name, []).append(_flooded(team, told, _SECONDS))


def warm_up(teams: dict[str, list[Worker]], rows: Sequence[Row], pictures: Path) -> None:
    """Let every process do every row, for a moment."""
    for row in rows:
        for team in teams.values():
            _flooded(team, row.told(str(pictures)), 0.2)


def _flooded(team: list[Worker], told: dict[str, Any], seconds: float) -> float:
    for worker in team:
        worker.tell(do="flood", row=told, seconds=seconds)
    answers = [worker.answer() for worker in team]
    images, passed = sum(answer["images"] for answer in answers), max(answer["seconds"] for answer in answers)
    return float(images / passed)
