"""Origins of web pages, as browsers send them: https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[a-z0-9._-]+")


def as_browsers_write_it(address: str) -> str | None:
    """Return the origin of an address: lower case, ASCII, without its scheme's port and without a path.

    None if it has no scheme or no host that could be one's.
    """
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname or ""
        host = f"[{IPv6Address(host)}]" if ":" in host else ".".join(_ascii(label) for label in host.split("."))
    except ValueError:
        return None
    if not parts.scheme or not (host.startswith("[") or _NAME.fullmatch(host)):
        return None
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _ascii(label: str) -> str:
    """Return a part of a host's name in Punycode, unless it is ASCII (UTS 46)."""
    if label.isascii():
        return label
    return "xn--" + unicodedata.normalize("NFKC", label).lower().encode("punycode").decode()
