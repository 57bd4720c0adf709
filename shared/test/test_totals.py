"""What an index keeps of a job can be read again, and the totals of an hour are those of its endings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from img_contract.history import Arrival, Ending
from img_contract.job.job import new_job_id
from img_contract.job.outcome import State
from img_contract.totals import RecentTotals

pytestmark = pytest.mark.python_independent

NOON: Final = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def ended(state: State, seconds: float, at: datetime = NOON, code: str = "") -> Ending:
    return Ending(at, new_job_id(), state, code, at - timedelta(seconds=seconds), None, 1000, 250, "owner")


@pytest.mark.parametrize("more", [[], ["of", "a", "newer", "version"]])
def test_what_is_written_is_read_again(more: list[str]) -> None:
    ending = ended(State.FAILED, 1.5, code="too_slow")
    damaged = Ending(NOON, new_job_id(), State.CANCELLED, "", None, None, 0, 0, "")
    for one in (ending, damaged):
        assert Ending.read([*one.words(), *more]) == one
    arrival = Arrival(NOON, new_job_id(), "")
    assert Arrival.read([*arrival.words(), *more]) == arrival


@pytest.mark.parametrize("number", range(9))
def test_words_that_are_damaged_are_none(number: int) -> None:
    words = ended(State.FAILED, 1.5).words()
    assert Ending.read(words[:number]) is None
    if number not in (3, 8):  # the code and the owner may be any word
        assert Ending.read([*words[:number], "damage", *words[number + 1 :]]) is None


def test_the_totals_count_each_state_and_the_time_that_jobs_took() -> None:
    totals = RecentTotals()
    for number in range(1, 101):
        totals.add(ended(State.DONE, number / 10))
    for code in ("too_slow", "picture_corrupt", "too_slow"):
        totals.add(ended(State.FAILED, 99, code=code))
    totals.add(ended(State.CANCELLED, 99))
    hour = totals.hour(NOON.timestamp())
    assert (hour.done, dict(hour.failed), hour.cancelled) == (100, {"too_slow": 2, "picture_corrupt": 1}, 1)
    assert (hour.uploaded_bytes, hour.saved_bytes) == (100_000, 75_000)
    assert hour.p50_seconds == pytest.approx(5.0, rel=0.01)
    assert hour.p95_seconds == pytest.approx(9.5, rel=0.01)


def test_what_ended_longer_than_an_hour_ago_is_forgotten() -> None:
    totals = RecentTotals()
    for minutes in (90, 61, 30, 1):
        totals.add(ended(State.DONE, 0, NOON - timedelta(minutes=minutes)))
    assert totals.hour(NOON.timestamp()).done == 2
    assert totals.hour((NOON + timedelta(minutes=45)).timestamp()).done == 1
    assert totals.hour((NOON + timedelta(hours=2)).timestamp()).p50_seconds is None
