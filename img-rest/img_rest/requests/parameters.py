"""From the strings of a form or a query to a validated `Resize`, with every fault reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from types import NoneType
from typing import Final, get_args

from img_contract.job.formats import WRITABLE, Format
from img_contract.job.resize import Resize
from img_contract.messages import LONGEST_SHOWN, describe_fault, quoted
from pydantic import ValidationError
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header

from img_rest.errors import ParameterFault, ParametersInvalid
from img_rest.requests.hints import likely_parameter

Pairs = Iterable[tuple[str, str]]

WAIT: Final = "wait"
"""The parameter that concerns the request, not the picture."""

MAX_IDEMPOTENCY_KEY: Final = 255
"""Characters."""

_FIELDS: Final = Resize.model_fields
_KINDS: Final = {name: {field.annotation, *get_args(field.annotation)} for name, field in _FIELDS.items()}
_WHOLE: Final = {name for name, kinds in _KINDS.items() if int in kinds and kinds <= {int, NoneType, int | None}}
_WITH_FRACTION: Final = {name for name, kinds in _KINDS.items() if float in kinds}
_OF_WATERMARK: Final = [name for name in _FIELDS if name.startswith("watermark_")]

_NAMED_FOR: Final = {"size_missing": "width", "dpr_side": "dpr"}
"""The parameter to name for a fault of several together."""


@lru_cache(64)  # clients send the same ones
def parse_accept(header: str | None) -> tuple[Format, ...]:
    """Return the formats that an Accept header (RFC 9110, 12.5.1) names as image/…, without q=0 and wildcards."""
    accepted = []
    for item, quality in parse_accept_header(header, MIMEAccept):
        kind, _, name = item.lower().partition("/")
        if kind == "image" and quality > 0 and name in set(WRITABLE):
            accepted.append(Format(name))
    return tuple(dict.fromkeys(accepted))


def check_watermark(resize: Resize, *, given: bool) -> None:
    """Refuse parameters of a watermark that was not sent, unless they have their default, as in forms.

    Raises ParametersInvalid.
    """
    if given:
        return
    changed = [name for name in _OF_WATERMARK if getattr(resize, name) != _FIELDS[name].default]
    if changed:
        raise ParametersInvalid(
            [ParameterFault(name, "expected a picture in the form field 'watermark', found none") for name in changed]
        )


def parse_resize(pairs: Pairs) -> Resize:
    """Validate parameters, given as names and texts. An empty text is a parameter that was left out.

    Raises ParametersInvalid with all faults: unknown and repeated names, each bad value, and what is missing.
    """
    resize, faults, of_several = _validated(pairs)
    if resize is None or faults:
        raise ParametersInvalid(faults + of_several)
    return resize


def check_query(pairs: Pairs, *, form_follows: bool) -> None:
    """Refuse what is known to be wrong before the body has come. Raises ParametersInvalid.

    What is missing, or does not go together, may be mended by the parameters of a form.
    """
    _, faults, of_several = _validated(pairs)
    if found := faults + ([] if form_follows else of_several):
        raise ParametersInvalid(found)


def _validated(pairs: Pairs) -> tuple[Resize | None, list[ParameterFault], list[ParameterFault]]:
    """Return what parameters come to, the faults of single ones, and those of several together."""
    values: dict[str, str] = {}
    faults: list[ParameterFault] = []
    of_several: list[ParameterFault] = []
    for name, value in pairs:
        if name == WAIT or not value.strip():
            continue
        if name in values:
            faults.append(ParameterFault(name[:LONGEST_SHOWN], "expected it once, found it again"))
        elif name not in _FIELDS:
            faults.append(ParameterFault(name[:LONGEST_SHOWN], _unknown(name)))
        elif fault := _number_fault(name, value.strip()):
            faults.append(ParameterFault(name, fault))
        else:
            values[name] = value.strip()
    try:
        return Resize.model_validate(values), faults, of_several
    except ValidationError as error:
        for details in error.errors():
            name = str(details["loc"][0]) if details["loc"] else _NAMED_FOR.get(details["type"], "width")
            (faults if details["loc"] else of_several).append(ParameterFault(name, describe_fault(details)))
    return None, faults, of_several


def _unknown(name: str) -> str:
    """Return the fault of a name that is no parameter's."""
    known = [*_FIELDS, WAIT]
    if likely := likely_parameter(name, known):
        return f"expected the name of a parameter; did you mean {likely!r}?"
    return f"expected one of the parameters {', '.join(known)}"


def _number_fault(name: str, text: str) -> str | None:
    """Return the fault of a number that Python accepts and people do not write: 1_000, or 80.0 for a whole one."""
    if name in _WHOLE and set("_.+") & set(text):
        return f"expected a whole number, found {quoted(text)}"
    if name in _WITH_FRACTION and set("_+eE") & set(text):
        return f"expected a number, found {quoted(text)}"
    return None


def parse_wait(pairs: Pairs, headers: Headers, longest: float) -> float:
    """Return the seconds that the client wants to wait: parameter `wait`, else `Prefer: wait=N` (RFC 7240), else 0.

    The parameter must be valid; a preference is cut to `longest`, and ignored if it is malformed.
    """
    given = [value for name, value in pairs if name == WAIT and value.strip()]
    if len(given) > 1:
        raise ParametersInvalid([ParameterFault(WAIT, "expected it once, found it again")])
    if given:
        try:
            seconds = float(given[0])
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= longest:
            raise ParametersInvalid(
                [ParameterFault(WAIT, f"expected a number of seconds from 0 to {longest:g}, found {quoted(given[0])}")]
            )
        return seconds
    for preference in headers.get("Prefer", "").split(","):  # the server has joined several headers
        if match := re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', preference, re.IGNORECASE):
            return min(float(match[1]), longest)
    return 0.0


def parse_idempotency_key(headers: Headers) -> str | None:
    """Return the client's name for its request, perhaps given in quotes; None without one. Raises ParametersInvalid.

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
