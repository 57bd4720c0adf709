"""What a client wants as the answer to its upload: the picture itself, or where to find it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header

REPRESENTATION: Final = "return=representation"
_PREFERENCE: Final = re.compile(r'\s*return\s*=\s*"?representation"?\s*(?:;.*)?', re.IGNORECASE)
_OF_ERRORS: Final = "application/problem+json"


def prefers_representation(headers: Headers) -> bool:
    """Return whether a request has `Prefer: return=representation` (RFC 7240, 4.2)."""
    return any(_PREFERENCE.fullmatch(one) for one in headers.get("Prefer", "").split(","))


def wants_picture(headers: Headers) -> bool:
    """Return whether the client wants the picture itself: it prefers that, or its Accept names pictures above all else.

    `*/*` names nothing. A browser that sends a form names text/html as well: for it a redirect is better, which can be
    reloaded and sent to others.
    """
    return prefers_representation(headers) or _names_pictures(headers.get("Accept"))


@lru_cache(64)  # clients send the same ones
def _names_pictures(accept: str | None) -> bool:
    named = [
        (kind.lower(), quality)
        for kind, quality in parse_accept_header(accept, MIMEAccept)
        if kind != "*/*" and kind.lower() != _OF_ERRORS
    ]
    picture = max((quality for kind, quality in named if kind.startswith("image/")), default=0.0)
    other = max((quality for kind, quality in named if not kind.startswith("image/")), default=0.0)
    return picture > other
