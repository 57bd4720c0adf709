"""Every error that the engine raises on purpose; `render` has one of its own, which does not leave it.

EngineError
├── AttemptSpent     the child died or outran its time: the attempt counts, another may start
└── ChildrenBroken   no child could take the picture: nobody's fault, the attempt does not count
"""

from __future__ import annotations

from enum import StrEnum


class EngineError(Exception):
    """Root of the engine's errors."""


class SpentKind(StrEnum):
    """What an attempt was spent on, for metrics."""

    TIMEOUT = "timeout"
    CHILD_DIED = "child_died"
    DEFECT = "defect"


class AttemptSpent(EngineError):
    """The attempt ended without a result and without a reason that lies in the picture."""

    def __init__(self, detail: str, kind: SpentKind) -> None:
        super().__init__(detail)
        self.kind = kind


class ChildrenBroken(EngineError):
    """No child could take the picture: they are being restarted, or cannot be started."""
