"""Faults of a picture: the error that refuses it, and how errors of decoders and encoders become one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from img_contract.job.outcome import Failure, FailureCode
from PIL import UnidentifiedImageError

_OF_THE_DISK: Final = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE}
)
"""Errors that say nothing about the picture. Others may: a corrupt offset makes a seek fail with EINVAL."""


class PictureRefused(Exception):
    """The picture cannot be rendered as asked, whoever tries. `render` turns it into a Refusal."""

    def __init__(self, code: FailureCode, detail: str, *, limit: int | None = None, actual: int | None = None) -> None:
        super().__init__(detail)
        self.failure = Failure(code=code, detail=detail, limit=limit, actual=actual)


@contextmanager
def picture_faults(verb: Literal["decoded", "encoded"]) -> Iterator[None]:
    """Turn whatever a decoder or an encoder raises into PictureRefused, except what the disk reports.

    Decoders raise far more than OSError: ValueError, TypeError, IndexError, KeyError, RuntimeError, SyntaxError,
    EOFError, struct.error and zlib.error were all seen on corrupt files.
    """
    try:
        yield
    except (PictureRefused, NameError):  # the latter is a defect of ours, never a picture's
        raise
    except MemoryError:
        raise PictureRefused(
            FailureCode.TOO_MUCH_MEMORY, f"the picture needs more memory to be {verb} than a job may have"
        ) from None
    except UnidentifiedImageError:
        raise PictureRefused(
            FailureCode.PICTURE_UNSUPPORTED,
            "the picture's first bytes are right, but what follows is damaged, or of a kind that cannot be decoded",
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        reason = str(error) or type(error).__name__
        if verb == "encoded":  # the picture was sound
            raise PictureRefused(FailureCode.ENCODING_FAILED, f"the result cannot be written: {reason}") from error
        raise PictureRefused(FailureCode.PICTURE_CORRUPT, f"the picture cannot be {verb}: {reason}") from error
