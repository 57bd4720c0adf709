"""Removing Range and conditional headers that Werkzeug fails on; RFC 9110 lets a server ignore them."""

from __future__ import annotations

import re
from typing import Any, Final

from werkzeug.http import parse_date

_DATES: Final = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")
_ONE_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def drop_unreadable_dates(environ: dict[str, Any]) -> None:
    """Remove dates that Python cannot represent (Werkzeug 3.1.9 raises OverflowError on them)."""
    for name in _DATES:
        try:
            parse_date(environ.get(name))
        except (OverflowError, ValueError):
            del environ[name]


def tidy_conditions(environ: dict[str, Any], size: int) -> None:
    """Remove what has no effect on a file of so many bytes.

    The whole file answers another unit than bytes, several ranges at once, or more of its end than there is; and a
    range is for GET alone (RFC 9110, 14.2). `If-Match: *` matches any file that exists.
    """
    if environ["REQUEST_METHOD"] != "GET":
        environ.pop("HTTP_RANGE", None)
    wanted = environ.get("HTTP_RANGE")
    if wanted is not None:
        match = _ONE_RANGE.fullmatch(wanted.strip())
        if match is None or (match[3] and int(match[3]) >= size):
            del environ["HTTP_RANGE"]
    if environ.get("HTTP_IF_MATCH", "").strip() == "*":
        del environ["HTTP_IF_MATCH"]
