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


def tidy_conditions(environ: dict[str, Any]) -> None:
    """Remove ranges that are not for us, and dates that Python cannot represent (Werkzeug 3.1.9 raises OverflowError).

    A range is for GET alone (RFC 9110, 14.2). The whole file answers another unit than bytes, and several ranges.
    """
    wanted = environ.get("HTTP_RANGE")
    if wanted is not None and (environ["REQUEST_METHOD"] != "GET" or not _ONE_RANGE.fullmatch(wanted.strip())):
        del environ["HTTP_RANGE"]
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


def drop_whole_range(environ: dict[str, Any], size: int) -> None:
    """Remove a range of more of a file's end than its so many bytes: the whole file answers it."""
    match = _ONE_RANGE.fullmatch(environ.get("HTTP_RANGE", "").strip())
    if match and match[3] and int(match[3]) >= size:
        del environ["HTTP_RANGE"]
