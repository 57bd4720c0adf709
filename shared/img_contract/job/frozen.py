"""The base of the job's models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A model that is never changed, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
