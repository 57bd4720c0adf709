"""Range and conditional headers that Werkzeug would stumble over, left out as RFC 9110 has it: what is not understood
is ignored.
"""

from __future__ import annotations

import re
from typing import Any, Final

from werkzeug.http import parse_date

_DATES: Final = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")
_ONE_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def drop_unreadable_dates(environ: dict[str, Any]) -> None:
    """Leave out dates that are beyond what Python can hold (Werkzeug 3.1.9 raises OverflowError on them)."""
    for name in _DATES:
        try:
            parse_date(environ.get(name))
        except (OverflowError, ValueError):
            del environ[name]


def tidy_conditions(environ: dict[str, Any], size: int) -> None:
    """Leave out what asks for nothing in particular of a file of so many bytes.

    Another unit than bytes, several ranges at once, or more of its end than there is: the whole file is the answer.
    `If-Match: *` holds for any file that is there.
    """
    wanted = environ.get("HTTP_RANGE")
    if wanted is not None:
        match = _ONE_RANGE.fullmatch(wanted.strip())
        if match is None or (match[3] and int(match[3]) >= size):
            del environ["HTTP_RANGE"]
    if environ.get("HTTP_IF_MATCH", "").strip() == "*":
        del environ["HTTP_IF_MATCH"]
