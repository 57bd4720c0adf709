"""`img jobs` and `img stats`: which jobs there are and why some failed, and how the service does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import typer
from img_contract.http_models import ShortStatus, Stats
from img_contract.job.outcome import State

from img_client import Client
from img_client.command.renderers import OK
from img_client.command.terminal import print_table, size

_MOST: Final = 200
"""Jobs that one page may have."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime:
    """Read 24h as 24 hours ago, or a time as ISO 8601 has it, here where it names no zone. Raises BadParameter."""
    if match := re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip()):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"expected 90s, 30m, 24h, 7d or a time such as 2026-11-26T22:00, found {text!r}", param_hint="--since"
        ) from None


def jobs(client: Client, state: State | None, since: datetime | None, most: int, *, as_json: bool) -> int:
    """Print jobs, the newest first: a line of JSON each, or a table."""
    found = _listed(client, state, since, most)
    if as_json:
        for job in found:
            typer.echo(job.model_dump_json())
        return OK
    rows = [_row(job) for job in found]
    if rows:
        print_table(("guid", "status", "when", "file", "size", "result"), rows)
    elif sys.stdout.isatty():
        typer.echo("no such jobs", err=True)
    return OK


def stats(client: Client, *, as_json: bool) -> int:
    """Print how the service does."""
    found = client.stats()
    typer.echo(found.model_dump_json() if as_json else "\n".join(f"{name:<11}{text}" for name, text in _lines(found)))
    return OK


def _listed(client: Client, state: State | None, since: datetime | None, most: int) -> Iterator[ShortStatus]:
    """Give so many jobs at most, page by page."""
    cursor, left = None, most
    while left > 0:
        page = client.jobs(status=state, since=since, limit=min(left, _MOST), cursor=cursor)
        yield from page.jobs
        left -= len(page.jobs)
        cursor = page.next
        if cursor is None:
            return


def _row(job: ShortStatus) -> tuple[str, ...]:
    when = job.finished_at or job.submitted_at
    result = ""
    if job.error:
        result = f"{job.error.code}: {job.error.detail}"
    elif job.result_bytes is not None:
        share = f", {_signed(job.saved_percent)} %" if job.saved_percent is not None else ""
        result = f"{size(job.result_bytes)}{share}"
    return (
        job.id,
        job.status,
        f"{when.astimezone():%Y-%m-%d %H:%M:%S}" if when else "",
        job.filename or str(job.format or ""),
        size(job.bytes) if job.bytes is not None else "",
        result,
    )


def _lines(found: Stats) -> Iterator[tuple[str, str]]:
    waited = f", the oldest for {found.oldest_seconds:.0f} s" if found.oldest_seconds is not None else ""
    yield "queued", f"{found.queued}{waited}"
    yield "processing", str(found.processing)
    yield "engines", ", ".join(f"{one.name} {one.version or ''}".strip() for one in found.engines) or "none"
    if found.free_bytes is not None:
        yield "free", size(found.free_bytes)
    hour = found.hour
    took = f", half of them within {_brief(hour.seconds.p50)}, 95 % within {_brief(hour.seconds.p95)}"
    yield "last hour", f"{hour.done} done{took if hour.done else ''}"
    if hour.uploaded_bytes:
        share = _signed(100 * hour.saved_bytes / hour.uploaded_bytes)
        yield "", f"{size(hour.uploaded_bytes)} → {size(hour.uploaded_bytes - hour.saved_bytes)}, {share} %"
    for code, count in hour.failed.items():
        yield "", f"{count} failed: {code}"
    if hour.cancelled:
        yield "", f"{hour.cancelled} cancelled"


def _brief(seconds: float | None) -> str:
    """Return a duration: 0.08 s, 12 s."""
    return "?" if seconds is None else f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004


def _signed(saved: float) -> str:
    """Return how much less it became: −88, or +3 for more."""
    return f"{'−' if saved >= 0 else '+'}{abs(saved):.0f}"
