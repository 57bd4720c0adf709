"""From the strings of a form or a query to a validated `Resize`, with every fault found at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import NoneType
from typing import Final, get_args

from img_contract.job.formats import WRITABLE, Format
from img_contract.job.resize import Resize
from img_contract.messages import LONGEST_SHOWN, describe_fault, quoted
from pydantic import ValidationError
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header

from img_rest.errors import ParameterFault, ParametersInvalid

Pairs = Iterable[tuple[str, str]]

WAIT: Final = "wait"
"""The parameter that concerns the request, not the picture."""


MAX_IDEMPOTENCY_KEY: Final = 255
"""Characters."""

_OF_THE_WHOLE: Final = {"size_missing": "width", "dpr_side": "dpr"}
"""Which parameter to name for a fault that several have together."""


def parse_accept(header: str | None) -> tuple[Format, ...]:
    """The formats that an Accept header (RFC 9110, 12.5.1) names as image/…, unless with q=0; wildcards say nothing."""
    taken = []
    for item, quality in parse_accept_header(header, MIMEAccept):
        kind, _, name = item.lower().partition("/")
        if kind == "image" and quality > 0 and name in set(WRITABLE):
            taken.append(Format(name))
    return tuple(dict.fromkeys(taken))


def check_watermark(resize: Resize, *, given: bool) -> None:
    """Refuse parameters of a watermark that was not sent, unless they say the default, as forms do.

    Raises ParametersInvalid.
    """
    names = [name for name in Resize.model_fields if name.startswith("watermark_")]
    asked = [name for name in names if getattr(resize, name) != Resize.model_fields[name].default]
    if asked and not given:
        raise ParametersInvalid(
            [ParameterFault(name, "expected a picture in the form field 'watermark', found none") for name in asked]
        )


def parse_resize(pairs: Pairs) -> Resize:
    """Validate parameters as they came: names and texts. An empty text is a parameter that was left out.

    Raises ParametersInvalid with all faults: unknown and repeated names, each bad value, and what is missing.
    """
    values: dict[str, str] = {}
    faults: list[ParameterFault] = []
    for name, value in pairs:
        if name == WAIT or not value.strip():
            continue
        if name in values:
            faults.append(ParameterFault(name[:LONGEST_SHOWN], "expected it once, found it again"))
        elif name not in Resize.model_fields:
            known = ", ".join([*Resize.model_fields, WAIT])
            faults.append(ParameterFault(name[:LONGEST_SHOWN], f"expected one of the parameters {known}"))
        elif loose := _loose(name, value.strip()):
            faults.append(ParameterFault(name, loose))
        else:
            values[name] = value.strip()
    try:
        resize = Resize.model_validate(values)
    except ValidationError as error:
        for details in error.errors():
            name = str(details["loc"][0]) if details["loc"] else _OF_THE_WHOLE.get(details["type"], "width")
            faults.append(ParameterFault(name, describe_fault(details)))
    if faults:
        raise ParametersInvalid(faults)
    return resize


def _loose(name: str, text: str) -> str | None:
    """What is wrong with a number that Python takes and people do not write: 1_000, or 80.0 for a whole one."""
    declared = Resize.model_fields[name].annotation
    kinds = {declared, *get_args(declared)}
    if int in kinds and kinds <= {int, NoneType, int | None} and set("_.+") & set(text):
        return f"expected a whole number, found {quoted(text)}"
    if float in kinds and set("_+eE") & set(text):
        return f"expected a number, found {quoted(text)}"
    return None


def parse_wait(pairs: Pairs, headers: Headers, longest: float) -> float:
    """Seconds that the client wants to wait: the parameter `wait`, else `Prefer: wait=N` (RFC 7240), else 0.

    The parameter is an order and must be right; a preference is a wish, cut to `longest`, and ignored if malformed.
    """
    for value in (value for name, value in pairs if name == WAIT and value.strip()):
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= longest:
            raise ParametersInvalid(
                [ParameterFault(WAIT, f"expected a number of seconds from 0 to {longest:g}, found {quoted(value)}")]
            )
        return seconds
    for preference in ",".join(headers.getlist("Prefer")).split(","):
        if match := re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', preference, re.IGNORECASE):
            return min(float(match[1]), longest)
    return 0.0


def parse_idempotency_key(headers: Headers) -> str | None:
    """The client's name for its request: visible ASCII, perhaps in quotes, or None. Raises ParametersInvalid.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    """
    given = headers.get("Idempotency-Key")
    if given is None:
        return None
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not re.fullmatch(rf"[!-~]{{1,{MAX_IDEMPOTENCY_KEY}}}", key):
        fault = f"expected 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters without spaces, found {quoted(key)}"
        raise ParametersInvalid([ParameterFault("Idempotency-Key", fault)])
    return key
