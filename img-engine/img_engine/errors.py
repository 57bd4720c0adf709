"""Every error that the engine raises on purpose.

EngineError
├── PictureRefused   the picture is at fault: the job fails at once, with this reason
├── AttemptSpent     the child died or outran its time: the attempt counts, another may start
└── ChildrenBroken   no child could take the picture: nobody's fault, the attempt does not count
"""

from __future__ import annotations

from img_contract.job.outcome import Facts, Failure, FailureCode


class EngineError(Exception):
    """Root of the engine's errors."""


class PictureRefused(EngineError):
    """The picture cannot be rendered as asked, whoever tries."""

    def __init__(self, code: FailureCode, detail: str, *, limit: int | None = None, actual: int | None = None) -> None:
        super().__init__(detail)
        self.facts: Facts | None = None
        """What the header said, once it is known."""
        self.failure = Failure(code=code, detail=detail, limit=limit, actual=actual)


class AttemptSpent(EngineError):
    """The attempt ended without a result and without a reason that lies in the picture."""


class ChildrenBroken(EngineError):
    """No child could take the picture: they are being restarted, or cannot be started."""
