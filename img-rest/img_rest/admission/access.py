"""Who may do what: API keys, each with its own jobs, and how often. All of it is off unless the configuration asks.

A key is 32 random bytes. Of such a thing a plain SHA-256 tells nothing, so that is what the configuration holds.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from typing import Any, Final

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from img_contract.config import AccessConfig
from img_contract.errors import JobDeleted, UnknownJob
from img_contract.job.status import JobStatus
from img_contract.ports import Jobs
from werkzeug.exceptions import TooManyRequests
from werkzeug.middleware.proxy_fix import ProxyFix

from img_rest.errors import KeyMissing

HEADER: Final = "X-API-Key"
SWAGGER: Final[dict[str, Any]] = {
    "securityDefinitions": {
        "key": {"type": "apiKey", "in": "header", "name": HEADER, "description": "The key that you were given."}
    },
    "security": [{"key": []}],
}
"""What the Swagger document has beside the rest if keys are asked for."""

_GUARDED: Final = "/resize"


def new_key() -> tuple[str, str]:
    """A fresh key for a client, and its digest for the configuration."""
    key = secrets.token_urlsafe(32)
    return key, _digest(key)


def guard(app: Flask, config: AccessConfig) -> None:
    """Have an application ask for keys, count uploads, and believe so many proxies, as the configuration says."""
    if config.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.proxies, x_proto=config.proxies, x_host=config.proxies)  # type: ignore[method-assign]
    if config.keys:
        app.before_request(lambda: _ask_for_key(config.keys))
    if config.rate:
        limiter = Limiter(
            lambda: owner() or request.remote_addr or "",
            app=app,
            default_limits=[config.rate],
            default_limits_exempt_when=lambda: request.method != "POST",
            storage_uri="memory://",  # there is one process
        )
        app.after_request(lambda response: _told_when(response, limiter))


def _told_when(response: Response, limiter: Limiter) -> Response:
    """Say when to come again to who was refused for the rate, and to nobody else."""
    if response.status_code == TooManyRequests.code and limiter.current_limit:
        response.headers["Retry-After"] = str(max(1, math.ceil(limiter.current_limit.window.reset_time - time.time())))
    return response


def owner() -> str | None:
    """The name of the key that this request came with; None where keys are not asked for."""
    name: str | None = g.get("owner")
    return name


def own_status(jobs: Jobs, job_id: str) -> JobStatus:
    """Return the status of a job, hiding the jobs of others. Raises UnknownJob, JobDeleted, StoreError."""
    try:
        status = jobs.status(job_id)
    except JobDeleted as deleted:
        if owner() not in (None, deleted.owner):
            raise UnknownJob(job_id) from None
        raise
    if owner() not in (None, status.owner):
        raise UnknownJob(job_id)
    return status


def _ask_for_key(digests: dict[str, str]) -> None:
    if request.path != _GUARDED and not request.path.startswith(f"{_GUARDED}/"):
        return
    given = request.headers.get(HEADER, "")
    if not given and request.authorization and request.authorization.type == "bearer":
        given = request.authorization.token or ""
    digest = _digest(given)
    # Each is compared, and each in constant time: how long it takes says nothing of any.
    matching = [name for name, known in digests.items() if hmac.compare_digest(known, digest)]
    if not matching:
        raise KeyMissing(
            f"expected an API key in {HEADER} or as a Bearer token, found {'another' if given else 'none'}"
        )
    g.owner = matching[0]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
