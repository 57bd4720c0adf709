"""Every error that the engine raises on purpose; `render` has one of its own, which does not leave it.

EngineError
├── AttemptSpent     the child died or outran its time: the attempt counts, another may start
└── ChildrenBroken   no child could take the picture: nobody's fault, the attempt does not count
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of the engine's errors."""


class AttemptSpent(EngineError):
    """The attempt ended without a result and without a reason that lies in the picture."""


class ChildrenBroken(EngineError):
    """No child could take the picture: they are being restarted, or cannot be started."""
