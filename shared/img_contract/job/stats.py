"""How the service does: what waits, who works, and what came of the jobs of the last hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineMark:
    """An engine that is alive."""

    name: str
    version: str | None
    """None if it did not say."""


@dataclass(frozen=True)
class HourTotals:
    """The jobs that ended within the last hour."""

    done: int
    failed: Mapping[str, int]
    """How many, by the code of their failure."""
    cancelled: int
    p50_seconds: float | None
    """Half of the done jobs took no longer from submission to end; None if there are none."""
    p95_seconds: float | None
    uploaded_bytes: int
    """Of the done jobs."""
    saved_bytes: int
    """By how much their results are smaller than their uploads; negative if they are larger."""


@dataclass(frozen=True)
class Stats:
    """The service at one moment."""

    queued: int
    processing: int
    oldest_seconds: float | None
    """How long the oldest queued job has waited; None if none is queued."""
    engines: tuple[EngineMark, ...]
    free_bytes: int | None
    """None where the store tells of no limit."""
    hour: HourTotals
