"""Security headers of every answer, and checks of the line and the headers of every request.

OWASP Secure Headers Project, https://owasp.org/www-project-secure-headers/.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Request, Response, request
from img_contract.config import LimitsConfig
from werkzeug.exceptions import BadRequest

from img_rest.errors import HeadersTooLarge

_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of everything but pages; the page for people brings its own."""

_ALWAYS: Final = {
    "Content-Security-Policy": _NOTHING,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_HOST: Final = re.compile(r"([\w.~-]+|\[[0-9a-fA-F:.]+\])(:\d{0,5})?", re.ASCII)
"""Several Host headers are joined with commas, which no name contains."""

_INLINE_SCRIPT: Final = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


def register(app: Flask, limits: LimitsConfig) -> None:
    """Have an application check the headers of each request, and add those of each answer."""
    app.before_request(lambda: check_size(request.environ, limits.header_bytes))
    app.before_request(lambda: _check_target(request))
    app.after_request(_secured)


def check_size(environ: Mapping[str, Any], most: int) -> None:
    """Raise HeadersTooLarge if the line and the headers of the request have more than so many bytes."""
    actual = len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", "")) + len("GET  HTTP/1.1\r\n")
    for name, value in environ.items():
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            actual += len(name.removeprefix("HTTP_")) + len(value) + len(": \r\n")
    if actual > most:
        raise HeadersTooLarge(f"expected headers of at most {most} bytes, found {actual}", limit=most, actual=actual)


def _check_target(request: Request) -> None:
    """Raise BadRequest unless the request has a method in upper case, a path, and one valid Host.

    RFC 9112, 3.2: without a Host header, with several or with an invalid one, the answer is 400.
    """
    method: str = request.environ["REQUEST_METHOD"]
    if method != method.upper() or not request.environ["PATH_INFO"]:
        raise BadRequest
    host: str = request.environ.get("HTTP_HOST", "")
    if not _HOST.fullmatch(host) and (host or request.environ["SERVER_PROTOCOL"] == "HTTP/1.1"):
        raise BadRequest


def _secured(response: Response) -> Response:
    of_its_own = "Content-Security-Policy" in response.headers
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    if response.mimetype == "text/html" and not of_its_own and not response.direct_passthrough:  # as files are sent
        if html := response.get_data(as_text=True):
            response.headers["Content-Security-Policy"] = _policy_of_page(html)
        else:
            del response.headers["Content-Type"]  # Flask's default for an answer without a body: 204, 303
    return response


def _policy_of_page(html: str) -> str:
    """Return the policy of Swagger UI: its own files, and its one inline script by its digest."""
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(html)]
    scripts = " ".join(["'self'", *(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
