"""`img status`, `img cancel` and `img limits`: what a service says of one job, and of itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer
from img_contract.http_models import Limits, Status
from img_contract.job.outcome import State

from img_client import Client, ImgError
from img_client.command.patience import explained
from img_client.command.renderers import INTERRUPTED, OK, SOME_FAILED
from img_client.command.terminal import size


def status(client: Client, guid: str, wait: float, *, as_json: bool) -> int:
    """Print where a job is; return 1 if it failed or was cancelled."""
    found = client.status(guid, wait)
    typer.echo(found.model_dump_json() if as_json else "\n".join(f"{name:<11}{text}" for name, text in _lines(found)))
    return SOME_FAILED if found.status in (State.FAILED, State.CANCELLED) else OK


def cancel(client: Client, guids: list[str]) -> int:
    """Cancel jobs that have not ended, and delete the files of those that have."""
    for guid in guids:
        client.cancel(guid)
    return OK


def limits(client: Client, *, as_json: bool) -> int:
    """Print what the service accepts."""
    found = client.limits()
    if as_json:
        typer.echo(found.model_dump_json())
        return OK
    for name, field in Limits.model_fields.items():
        value = getattr(found, name)
        text = ", ".join(value) if isinstance(value, list) else "none" if value is None else f"{value}"
        typer.echo(f"{name:<24}{text:<12}  {field.description}")
    return OK


def call(server: str, key: str | None, question: Callable[[Client], int]) -> int:
    """Ask a service something; return the exit status. A service that does not answer is said on stderr."""
    try:
        with Client(server, api_key=key, retries=1) as client:
            return question(client)
    except ImgError as error:
        sys.stderr.write(f"img: {explained(error, server)}\n")
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _lines(found: Status) -> Iterator[tuple[str, Any]]:
    attempt = f", attempt {found.attempt}" if found.attempt > 1 else ""
    yield "status", found.status + attempt
    if found.source:
        side = f", {found.source.width} × {found.source.height}" if found.source.width else ""
        yield "source", f"{found.source.filename or found.source.media_type}, {size(found.source.bytes)}{side}"
    for one in found.outputs:
        yield "result", f"{one.name}, {one.media_type}, {one.width} × {one.height}, {size(one.bytes)}"
    if found.saved_percent is not None:
        yield "saved", f"{found.saved_percent} %"
    for warning in found.warnings:
        yield "warning", f"{warning.code}: {warning.detail}"
    if found.error:
        yield "error", f"{found.error.code}: {found.error.detail}"
    for name in ("submitted_at", "finished_at", "expires_at"):
        if when := getattr(found, name):
            yield name.removesuffix("_at"), f"{when:%Y-%m-%d %H:%M:%S %Z}"
