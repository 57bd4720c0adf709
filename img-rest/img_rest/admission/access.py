"""Who may use the API, and how often: API keys and a rate of uploads. Both are off unless they are configured.

A key is 32 random bytes. A plain SHA-256 reveals nothing about it, so that is what the configuration holds.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from typing import Final

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from img_contract.config import AccessConfig
from werkzeug.exceptions import TooManyRequests

from img_rest.admission.proxies import behind_proxies
from img_rest.errors import KeyMissing

HEADER: Final = "X-API-Key"
_GUARDED: Final = ("/resize/", "/jobs/", "/stats/")
_METRICS: Final = "/metrics/"


def new_key() -> tuple[str, str]:
    """Return a fresh key for a client, and its digest for the configuration."""
    key = secrets.token_urlsafe(32)
    return key, _digest(key)


def guard(app: Flask, config: AccessConfig) -> None:
    """Have an application demand keys, limit the rate of uploads, and trust proxies, as configured."""
    if config.proxies:
        app.wsgi_app = behind_proxies(app.wsgi_app, config.proxies)  # type: ignore[method-assign]
    if config.keys:
        guarded = (*_GUARDED, _METRICS) if config.metrics == "key" else _GUARDED
        app.before_request(lambda: _check_key(config.keys, guarded))
    if config.rate:
        limiter = Limiter(
            lambda: current_key() or request.remote_addr or "",
            app=app,
            default_limits=[config.rate],
            default_limits_exempt_when=lambda: request.method != "POST",
            storage_uri="memory://",  # there is one process
        )
        app.after_request(lambda response: _set_retry_after(response, limiter))


def _set_retry_after(response: Response, limiter: Limiter) -> Response:
    """Add when the window of the rate ends to the answers of requests that were refused for it, and to no others."""
    if response.status_code == TooManyRequests.code and limiter.current_limit:
        response.headers["Retry-After"] = str(max(1, math.ceil(limiter.current_limit.window.reset_time - time.time())))
    return response


def current_key() -> str | None:
    """Return the name of the key that this request came with; None where no keys are needed."""
    name: str | None = g.get("key")
    return name


def _check_key(digests: dict[str, str], guarded: tuple[str, ...]) -> None:
    if not f"{request.path}/".startswith(guarded) or request.method == "OPTIONS":  # a preflight carries no key
        return
    given = request.headers.get(HEADER, "")
    if not given and request.authorization and request.authorization.type == "bearer":
        given = request.authorization.token or ""
    digest = _digest(given)
    # All are compared, each in constant time: the duration reveals nothing about any of them.
    matching = [name for name, known in digests.items() if hmac.compare_digest(known, digest)]
    if not matching:
        raise KeyMissing(
            f"expected an API key in {HEADER} or as a Bearer token, found {'another' if given else 'none'}"
        )
    g.key = matching[0]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
