"""Claims whose creation the store did not answer: it may have created them, and it may not.

An engine that is to take such a job again leaves the claim out of what it sees, and creates it anew with the same
content. If it was there, it turns out to be the engine's own, and no attempt is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from img_contract.job.job import now

from img_cluster.objects import HeldClaim, JobObjects


@dataclass(frozen=True)
class _Unanswered:
    attempt: int
    holder: HeldClaim


class UnansweredClaims:
    """Those of one engine. Of one job there is one caller at a time."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._claims: dict[str, _Unanswered] = {}

    def left_out(self, job_id: str, found: JobObjects) -> JobObjects:
        """Return a job's objects as they were before this engine tried to claim it, if it had no answer."""
        mine = self._claims.get(job_id)
        if mine is None or found.attempts != mine.attempt or f"claim.{mine.attempt}.ended" in found.names:
            return found
        return replace(found, names={name: one for name, one in found.names.items() if name != f"claim.{mine.attempt}"})

    def holder(self, job_id: str, attempt: int, message: str) -> HeldClaim:
        """Return the content of a claim that is to be created: the same as the last time if that had no answer."""
        mine = self._claims.get(job_id)
        if mine is None or (mine.attempt, mine.holder.message) != (attempt, message):
            mine = _Unanswered(attempt, HeldClaim(engine=self._engine, started_at=now(), message=message))
            self._claims[job_id] = mine
        return mine.holder

    def answered(self, job_id: str) -> None:
        """Forget the claim: the store has told what became of it."""
        self._claims.pop(job_id, None)
