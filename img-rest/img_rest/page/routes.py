"""The routes of the page for people: the page at /app, what it loads below that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, request
from img_contract.cluster_config import StoreConfig
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse

_PAGE: Final = "app.html"
_MEDIA_TYPES: Final = {
    _PAGE: "text/html; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:{store}; connect-src 'self'{store}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The last two: no text of a picture or an answer can become HTML or a script, even by a mistake in app.js."""


def add_page_routes(app: Flask, store: StoreConfig | None) -> None:
    """Add the page to an application. `store`: where results are kept, which a request for one may be sent on to."""
    policy = _POLICY.format(store=f" {_origin(store)}" if store and store.redirect else "")
    for name, media_type in _MEDIA_TYPES.items():
        view = _view(files(__package__).joinpath(name).read_bytes(), media_type, policy)
        app.add_url_rule("/app" if name == _PAGE else f"/app/{name}", endpoint=f"page.{name}", view_func=view)
    app.add_url_rule("/app/", endpoint="page", view_func=_to_the_page)


def _view(content: bytes, media_type: str, policy: str) -> Callable[[], Response]:
    """Return a view of a file, which a browser asks for each time, so that no old script meets a new page."""
    etag = hashlib.sha256(content).hexdigest()

    def view() -> Response:
        response = Response(content, content_type=media_type)
        response.set_etag(etag)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = policy
        response.make_conditional(request.environ)
        return response

    return view


def _to_the_page() -> AnyResponse:
    return redirect(f"{request.script_root}/app")


def _origin(store: StoreConfig) -> str:
    """Return where links to results lead, as a Content-Security-Policy has it."""
    if store.endpoint is None:
        return "https://*.amazonaws.com"
    address = urlsplit(store.endpoint)
    return f"{address.scheme}://{address.netloc}"
