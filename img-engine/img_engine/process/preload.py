"""What the fork server imports once, for all children: this module names it, and importing it is all that it does."""

from __future__ import annotations

from img_contract.start import importing

with importing():
    import img_engine.process.child
    import img_engine.render.render  # noqa: F401
