"""A processed file as an answer: its headers, ranges, conditional requests, and the name that it is saved under."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from flask import Response, request
from img_contract.job.formats import MEDIA_TYPES, SUFFIXES
from img_contract.job.outcome import Output
from img_contract.job.status import JobStatus
from img_contract.ports import StoredResult
from werkzeug.exceptions import HTTPException
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import wrap_file

from img_rest.requests.conditions import check_preconditions, drop_whole_range

_SUFFIXES: Final = {MEDIA_TYPES[name]: f".{suffix}" for name, suffix in SUFFIXES.items()}
_LONGEST_STEM: Final = 100
"""Characters."""
_UNSAFE: Final = re.compile(r'[<>:"/\\|?*\'%;]')
"""What some system allows in no file name, or some client reads as more than a letter of it (RFC 6266, D)."""


def file_answer(status: JobStatus, result: StoredResult, retention_seconds: float) -> AnyResponse:
    """Return a result, the part or the 304 that the request asks for, or where it is. Raises HTTPException."""
    output = result.output
    if result.link:
        result.file.close()
        elsewhere = redirect(result.link, 302)
        elsewhere.headers["Cache-Control"] = "no-store"  # the link is good for a short time
        return elsewhere
    drop_whole_range(request.environ, output.bytes)
    # Werkzeug's send_file would look for all that is known here already.
    response = Response(wrap_file(request.environ, result.file), mimetype=output.media_type, direct_passthrough=True)
    if output.sha256:  # a newer engine may not say it
        response.set_etag(output.sha256)
    response.last_modified = status.outcome.finished_at if status.outcome else None
    response.content_length = output.bytes
    try:
        if request.method != "POST":  # whose conditions would be those of an upload
            check_preconditions(request.environ, output.sha256, response.last_modified)
        response.make_conditional(request.environ, accept_ranges=True, complete_length=output.bytes)
    except HTTPException:
        response.close()
        raise
    response.headers.set("Content-Disposition", "inline", **_names(status, output))
    response.headers["Cache-Control"] = f"private, immutable, max-age={retention_seconds:.0f}"
    return response


def _names(status: JobStatus, output: Output) -> dict[str, str]:
    """Return the parameters of Content-Disposition: a name in ASCII, and the full one where they differ (RFC 6266)."""
    filename = status.job.source.filename if status.job else None
    size = f"-{output.width}x{output.height}"
    suffix = _SUFFIXES.get(output.media_type) or PurePosixPath(output.name).suffix  # of a newer engine's format
    full = _safe(PurePosixPath(filename or "").stem)
    plain = _safe(unicodedata.normalize("NFKD", full).encode("ascii", "ignore").decode())
    names = {"filename": f"{plain or 'image'}{size}{suffix}"}
    if plain != full:
        names["filename*"] = f"UTF-8''{quote(full + size + suffix, safe='')}"
    return names


def _safe(stem: str) -> str:
    """Return the stem of a file's name without what makes trouble in it.

    At the beginning a hyphen passes for an option, and a dot hides the file.
    """
    return _UNSAFE.sub("_", stem).lstrip("-. ")[:_LONGEST_STEM].rstrip(". ")
