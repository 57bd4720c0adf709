"""Pages of other origins: which may use the API (CORS), and that no other makes a visitor's browser send pictures.

A browser sends a plain form to any address without asking (https://fetch.spec.whatwg.org/#cors-protocol), also to one
that only this machine can reach. It says with Sec-Fetch-Site that the page is another site's
(https://www.w3.org/TR/fetch-metadata/), if the address is on HTTPS or on this machine.
"""

from __future__ import annotations

import re
from typing import Final

from flask import Flask, Response, request

from img_rest.errors import CrossSite

_ALL: Final = "*"
_READABLE: Final = (
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Location, Content-Range, ETag, Idempotency-Replayed, "
    "Location, Preference-Applied, Retry-After"
)
_NAMES_OF_HEADERS: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_PREFLIGHT_SECONDS: Final = "7200"
"""How long a browser may remember the answer to its question; none does for longer."""


def register(app: Flask, origins: tuple[str, ...] | None) -> None:
    """Have an application let in the pages of these origins, without cookies, and refuse what others send."""
    allowed = origins or ()
    app.before_request(lambda: _refuse_cross_site(allowed))
    if allowed:
        app.after_request(lambda response: _allow(response, allowed))


def _allowed(origins: tuple[str, ...]) -> bool:
    return _ALL in origins or request.headers.get("Origin") in origins


def _refuse_cross_site(origins: tuple[str, ...]) -> None:
    """Raise CrossSite for an upload or a deletion that a page of another site made the browser send."""
    cross = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if cross and request.method not in _SAFE and not _allowed(origins):
        found = request.headers.get("Origin", "none")
        raise CrossSite(f"expected a page of this site, or of an origin in access.origins; found the origin {found}")


def _allow(response: Response, origins: tuple[str, ...]) -> Response:
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # for pages that embed only what says so
    if _ALL not in origins:
        response.vary.add("Origin")  # a cache must not give one origin's answer to another
    if not _allowed(origins):
        return response
    response.headers["Access-Control-Allow-Origin"] = _ALL if _ALL in origins else request.headers["Origin"]
    response.headers["Access-Control-Expose-Headers"] = _READABLE
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        # All that are asked for: upload clients and tracers add their own, and one that is not allowed stops the whole
        # request. No header gets a page more than any other client has: cookies are not used, a key must be known.
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        if _NAMES_OF_HEADERS.fullmatch(wanted):
            response.headers["Access-Control-Allow-Headers"] = wanted
        response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
    return response
