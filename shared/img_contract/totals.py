"""The totals of the last hour, from the endings of jobs, one by one; their cost does not grow with the jobs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from img_contract.history import Ending
from img_contract.job.outcome import State
from img_contract.job.stats import HourTotals

MINUTES: Final = 60
_STEP: Final = math.log(1.02)
"""Durations are counted in classes, each 2 percent wider than the one before."""
_SHORTEST: Final = 0.001
"""Seconds; what is shorter is counted as this."""


@dataclass
class _Minute:
    done: int = 0
    cancelled: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    durations: Counter[int] = field(default_factory=Counter)
    uploaded: int = 0
    results: int = 0


class RecentTotals:
    """Counts endings by the minute, and forgets them after an hour. Not thread-safe."""

    def __init__(self) -> None:
        self._minutes: dict[int, _Minute] = {}

    def add(self, ending: Ending) -> None:
        """Count a job that has ended."""
        number = _minute(ending.at.timestamp())
        minute = self._minutes.get(number)
        if minute is None:
            minute = self._minutes[number] = _Minute()
        if ending.state is State.CANCELLED:
            minute.cancelled += 1
        elif ending.state is State.FAILED:
            minute.failed[ending.code] += 1
        else:
            minute.done += 1
            minute.uploaded += ending.uploaded_bytes
            minute.results += ending.result_bytes
            if ending.submitted_at:
                seconds = (ending.at - ending.submitted_at).total_seconds()
                minute.durations[round(math.log(max(seconds, _SHORTEST)) / _STEP)] += 1

    def hour(self, present: float) -> HourTotals:
        """Return the totals of the hour up to the present, in seconds since the epoch; to the minute."""
        first = _minute(present) - MINUTES + 1
        self._minutes = {number: minute for number, minute in self._minutes.items() if number >= first}
        minutes = list(self._minutes.values())
        failed = sum((minute.failed for minute in minutes), Counter[str]())
        durations = sum((minute.durations for minute in minutes), Counter[int]())
        uploaded = sum(minute.uploaded for minute in minutes)
        return HourTotals(
            done=sum(minute.done for minute in minutes),
            failed=dict(failed.most_common()),
            cancelled=sum(minute.cancelled for minute in minutes),
            p50_seconds=_percentile(durations, 0.5),
            p95_seconds=_percentile(durations, 0.95),
            uploaded_bytes=uploaded,
            saved_bytes=uploaded - sum(minute.results for minute in minutes),
        )


def _minute(moment: float) -> int:
    return int(moment // 60)


def _percentile(durations: Counter[int], share: float) -> float | None:
    """Return the least duration that so large a share does not exceed, to one percent."""
    left = math.ceil(share * durations.total())
    for number, count in sorted(durations.items()):
        left -= count
        if left <= 0:
            return float(f"{math.exp(number * _STEP):.3g}")
    return None
