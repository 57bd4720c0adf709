"""What the reverse proxies in front say of a request: the client's address, the scheme, the host and the prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix

_OF_ONE: Final = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
_PREFIX: Final = "HTTP_X_FORWARDED_PREFIX"


def behind_proxies(application: Callable[..., Iterable[bytes]], many: int) -> Callable[..., Any]:
    """Wrap a WSGI application that so many trusted proxies are in front of.

    Each of them adds to X-Forwarded-For, so the client's address is that many values from the right, and a shorter
    list is not believed. Scheme, host and prefix may be set by one of them alone and passed on by the others: where
    there are fewer values than proxies, the first one counts. Prefixes add up: each proxy removes its own.
    """
    counted = ProxyFix(application, x_for=many, x_proto=1, x_host=1, x_prefix=1)

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        for name in _OF_ONE:
            if given := _last(environ, name, many):
                environ[name] = given[0]
        if _PREFIX in environ:
            environ[_PREFIX] = "".join(prefix.rstrip("/") for prefix in _last(environ, _PREFIX, many))
        return counted(environ, start_response)

    return wrapped


def _last(environ: dict[str, Any], name: str, many: int) -> list[str]:
    """Return the last values of a header, at most so many."""
    return parse_list_header(environ.get(name, ""))[-many:]
