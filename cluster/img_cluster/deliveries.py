"""What jobs need of a broker. It only delivers: the object store is the truth, and the broker may lose everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Settle = Callable[[bool], None]
"""Ends a delivery: True, it is done with; False, it is to be delivered again, to any engine. May be called twice."""


@dataclass(frozen=True)
class Delivery:
    """A message that says that a job is to be done."""

    job_id: str
    message: str
    """Id of the message: of one job there may be several, as a job is sent again rather than lost."""
    redelivered: bool
    """True if it was delivered before, to an engine that died or lost its connection."""


class Deliveries(Protocol):
    """The sending side, for both services. Every method raises StoreError. Thread-safe."""

    def send(self, job_id: str) -> None:
        """Have the job delivered. Returns when the broker has it safely."""

    def send_again(self, job_id: str) -> None:
        """The same for a job that cost an attempt: it is delivered behind all others."""

    def waiting(self) -> int:
        """Return how many messages wait, those for another attempt included."""


class Notices(Protocol):
    """Hints that jobs have ended. They may be lost. Thread-safe, and raise nothing."""

    def ended(self, job_id: str) -> None:
        """Tell every img-rest that a job has ended."""
