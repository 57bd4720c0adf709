"""How much of anything a sound file has: a bound, and the words for a file that passes it."""

from __future__ import annotations

from img_contract.job.outcome import FailureCode

from img_engine.errors import PictureRefused


def at_most(most: int, found: int, what: str) -> None:
    """Raise PictureRefused if more was found, perhaps in a file that was not read any further."""
    if found > most:
        raise PictureRefused(
            FailureCode.PICTURE_CORRUPT,
            f"expected at most {most} {what}, found {found} or more",
            limit=most,
            actual=found,
        )
