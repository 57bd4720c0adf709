"""Guesses at what went wrong where what came is no picture, for the person who sent it."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from typing import Final

from img_contract.job.formats import sniff
from img_contract.messages import quoted
from werkzeug.wrappers import Request

URLENCODED: Final = "application/x-www-form-urlencoded"
_NAME_OF_FILE: Final = re.compile(rb"[^\x00-\x1f<>{}]{0,250}\.[A-Za-z0-9]{2,5}")
SHORT_BYTES: Final = 260
"""A body of up to this size may be the name of a file."""
_MADE_UP: Final = ("file", "upload", "blob")
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_BROKEN_PNG: Final = b"\x89PNG\x1a"
_GZIP: Final = b"\x1f\x8b"
_OTHER_NAMES: Final = {
    "w": "width",
    "h": "height",
    "size": "width",
    "q": "quality",
    "fm": "format",
    "type": "format",
    "output": "format",
    "mode": "fit",
    "bg": "background",
    "greyscale": "grayscale",
}
"""What other services call it."""
_OTHER_ROUTES: Final = {
    **dict.fromkeys(("upload", "uploads", "image", "images", "convert", "thumbnail"), "resize"),
    **dict.fromkeys(("docs", "swagger", "api-docs", "redoc"), ""),
    "openapi.json": "swagger.json",
    **dict.fromkeys(("healthz", "livez", "live", "ping"), "health"),
    **dict.fromkeys(("readyz", "ready"), "health/ready"),
    **dict.fromkeys(("ui", "index.html"), "app"),
}
_OTHER_ROUTES_OF_JOBS: Final = {
    **dict.fromkeys(("status", "job", "jobs"), "resize/status"),
    **dict.fromkeys(("result", "results", "download"), "resize"),
}
"""What other services call it, and what is plausible; the latter with a guid behind it."""
_ALIKE: Final = 0.65
"""The least likeness (difflib) of a name to a parameter that it may be a slip for."""
_ALIKE_ROUTE: Final = 0.75
"""The same for a part of a path: whoever looks for holes is told nothing."""


def likely_parameter(name: str, known: list[str]) -> str | None:
    """Return the parameter that an unknown name was perhaps meant to be."""
    plain = name.strip().lower()
    if other := _OTHER_NAMES.get(plain):
        return other
    return next(iter(get_close_matches(plain, known, n=1, cutoff=_ALIKE)), None)


def likely_routes(path: str, known: list[str]) -> Iterator[str]:
    """Yield what an unknown path was perhaps meant to be, the likeliest first; not all are routes.

    `known`: the first parts of the paths of all routes. What is before one (/api/v1) may be too much.
    """
    parts = [part for part in path.split("/") if part][:6]
    for position, part in enumerate(parts):
        plain, rest = part[:40].lower(), parts[position + 1 :]
        alike = get_close_matches(plain, known, n=1, cutoff=_ALIKE_ROUTE)
        others = [_OTHER_ROUTES_OF_JOBS.get(plain)] if rest else []
        for meant in (*alike, *others, _OTHER_ROUTES.get(plain)):
            if meant is not None:
                yield "/".join(["", meant, *rest])


def name_in_place_of_file(field: str, filename: str | None, content: bytes) -> str | None:
    """Return what is wrong with a file that is the name of one: curl sends that without an @, libraries without open().

    `filename`: that of the part. Libraries make one up for a text; under another, a text was sent as a file.
    """
    if not _NAME_OF_FILE.fullmatch(content) or filename not in (None, field, *_MADE_UP):
        return None
    name = content.decode(errors="replace")
    cure = f"forgot the @? -F {field}=@{name[:80]}" if filename is None else "open that file, and send what is in it"
    return f"found the text {quoted(name)} in the form field {field!r}; {cure}"


def picture_as_text(head: bytes) -> str | None:
    """Return what a body that begins so is, if it is a picture that was made a text, and what to send instead."""
    text = head.lstrip(b" \r\n\"'")
    if text[:5].lower() == b"data:":
        return "a data: URL; send the bytes that it stands for"
    with suppress(ValueError):
        if sniff(b64decode(text[: len(text) // 4 * 4].translate(_FROM_URL_SAFE), validate=True)):
            return "a picture in base64; send its bytes, decoded"
    return None


def about_body(request: Request, head: bytes) -> str:
    """Return a guess at why a body that begins so is no picture, to be appended to the fault; perhaps an empty text."""
    encoding = request.headers.get("Content-Encoding", "").strip()
    if encoding.lower() not in ("", "identity") or head.startswith(_GZIP):
        return f"; send it as it is, without Content-Encoding ({encoding[:40] or 'it is gzip'})"
    if head.startswith(_BROKEN_PNG):
        return "; its line ends are gone: with curl, use --data-binary, not --data (-d)"
    if request.mimetype in (URLENCODED, "text/plain") and re.match(rb"[\w%+.-]+=", head):
        return '; a form with a file needs enctype="multipart/form-data" (curl -F)'
    if _NAME_OF_FILE.fullmatch(head):
        return f"; it is the name of a file; forgot the @? --data-binary @{head.decode(errors='replace')[:80]}"
    if request.mimetype.endswith("json"):
        return "; send a form (multipart/form-data) or the picture itself as the body, not JSON"
    return ""


class LineEnds:
    """Notices that a body has lost its line ends and zero bytes, as `curl --data` leaves it; no picture is without."""

    def __init__(self, request: Request) -> None:
        self._suspected = request.mimetype == URLENCODED  # which curl says with --data and --data-binary

    def look(self, portion: bytes) -> None:
        """Look at the next bytes of the body."""
        if self._suspected:
            self._suspected = not any(byte in portion for byte in (b"\0", b"\n", b"\r"))

    @property
    def lost(self) -> bool:
        """Whether that is so, once the whole body was looked at."""
        return self._suspected
