"""Conditions of a request: those that Werkzeug does not know, and removing headers that it fails on.

RFC 9110 lets a server ignore a Range, and dates that it cannot read.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from werkzeug.exceptions import PreconditionFailed
from werkzeug.http import parse_date, parse_etags

_DATES: Final = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")
_ONE_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def drop_unreadable_dates(environ: dict[str, Any]) -> None:
    """Remove dates that Python cannot represent (Werkzeug 3.1.9 raises OverflowError on them)."""
    for name in _DATES:
        try:
            parse_date(environ.get(name))
        except (OverflowError, ValueError):
            del environ[name]


def check_preconditions(environ: dict[str, Any], etag: str | None, modified_at: datetime | None) -> None:
    """Raise PreconditionFailed unless the file is the one of If-Match, or else not newer than If-Unmodified-Since.

    Both headers are removed (RFC 9110, 13.2.2). `etag`: None if there is no file.
    """
    wanted = environ.pop("HTTP_IF_MATCH", None)
    since = parse_date(environ.pop("HTTP_IF_UNMODIFIED_SINCE", None))
    if wanted is not None:
        tags = parse_etags(wanted)
        if etag is None or not (tags.star_tag or tags.is_strong(etag)):
            raise PreconditionFailed
    elif since and modified_at and modified_at.replace(microsecond=0) > since:
        raise PreconditionFailed


def tidy_conditions(environ: dict[str, Any], size: int) -> None:
    """Remove what has no effect on a file of so many bytes.

    The whole file answers another unit than bytes, several ranges at once, or more of its end than there is; and a
    range is for GET alone (RFC 9110, 14.2).
    """
    if environ["REQUEST_METHOD"] != "GET":
        environ.pop("HTTP_RANGE", None)
    wanted = environ.get("HTTP_RANGE")
    if wanted is not None:
        match = _ONE_RANGE.fullmatch(wanted.strip())
        if match is None or (match[3] and int(match[3]) >= size):
            del environ["HTTP_RANGE"]
