"""From the query of GET /jobs to which jobs are asked for, with every fault reported at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from img_contract.job.outcome import State
from img_contract.job.query import JobQuery
from img_contract.messages import LONGEST_SHOWN, quoted

from img_rest.errors import ParameterFault, QueryInvalid

DEFAULT_LIMIT: Final = 50
MOST: Final = 200
"""Jobs of one page."""

CURSOR: Final = "cursor"


def parse_listing(pairs: Iterable[tuple[str, str]], owner: str | None) -> tuple[JobQuery, int, str | None]:
    """Return the jobs that are asked for, how many of them at most, and the cursor. An empty text was left out.

    Raises QueryInvalid.
    """
    values: dict[str, Any] = {}
    faults: list[ParameterFault] = []
    for name, value in pairs:
        text = value.strip()
        if name not in _READERS:
            faults.append(ParameterFault(name[:LONGEST_SHOWN], f"expected one of the parameters {', '.join(_READERS)}"))
        elif name in values:
            faults.append(ParameterFault(name, "expected it once, found it again"))
        elif text:
            try:
                values[name] = _READERS[name](text)
            except (ValueError, OverflowError):
                faults.append(ParameterFault(name, f"expected {_EXPECTED[name]}, found {quoted(text)}"))
    if faults:
        raise QueryInvalid(faults)
    query = JobQuery(values.get("status"), values.get("since"), owner)
    return query, values.get("limit", DEFAULT_LIMIT), values.get(CURSOR)


def _moment(text: str) -> datetime:
    """Read a time as ISO 8601 has it, in UTC where it names no zone. Raises ValueError, OverflowError."""
    moment = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", text))  # in a query, + stands for a space
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= MOST:
        return int(text)
    raise ValueError(text)


_READERS: Final[dict[str, Callable[[str], Any]]] = {"status": State, "since": _moment, "limit": _limit, CURSOR: str}
_EXPECTED: Final = {
    "status": f"one of {', '.join(State)}",
    "since": "a time such as 2026-11-26T04:00:00Z",
    "limit": f"a whole number from 1 to {MOST}",
}
