"""The path under which a proxy offers the API: what every address in an answer begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Response, request
from img_contract.config import PREFIX


def drop_host(response: Response) -> Response:
    """Make the Location of a redirect a path: the host that Flask puts there may be a name that only a proxy knows."""
    given = response.headers.get("Location", "")
    if "//" in given:  # with a host in it
        location = urlsplit(given)
        if location.netloc == request.host:  # else it leads elsewhere
            response.headers["Location"] = location._replace(scheme="", netloc="").geturl()
    return response


def under_prefix(application: Callable[..., Iterable[bytes]], configured: str) -> Callable[..., Any]:
    """Wrap a WSGI application that is offered under a prefix: the SCRIPT_NAME of a trusted proxy, else `configured`.

    A proxy that sends X-Forwarded-Prefix has removed it from the path. Whether another one does is unknown, so the
    configured prefix is removed where it is still there. Addresses in answers have it as it is written, so
    percent-encoded where clients have to send it so. What is no prefix in a header may come from a client that wants
    addresses to lead elsewhere, and is dropped.
    """
    in_path = unquote(configured, "latin-1")  # as PEP 3333 has it

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        forwarded = environ["SCRIPT_NAME"].rstrip("/")
        environ["SCRIPT_NAME"] = forwarded if PREFIX.fullmatch(forwarded) else configured
        path = environ["PATH_INFO"]
        if configured and f"{path}/".startswith(f"{in_path}/"):
            environ["PATH_INFO"] = path.removeprefix(in_path) or "/"
        return application(environ, start_response)

    return wrapped
