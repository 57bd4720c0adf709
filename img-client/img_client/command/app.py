"""The subcommands of `img`: what each is called with, and what it starts."""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer
from img_contract.job.outcome import State

from img_client.command import jobs, overview, resizing, watching
from img_client.command.parameters import parse, with_parameters
from img_client.command.renderers import How

app = typer.Typer(
    name="img",
    help="Resize pictures: through a service, or on this machine.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_SERVICE: Final = "The service"


def _address(text: str) -> str:
    """Return the address of a service. Raises typer.BadParameter if it is none."""
    try:
        address = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise typer.BadParameter(f"{text}: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        whole = f"http://{text.rpartition('://')[2] or 'localhost:8080'}"
        raise typer.BadParameter(f"expected an address with its protocol, such as {whole}, found {text!r}")
    return text


Server = Annotated[
    str,
    typer.Option(
        envvar="IMG_SERVER",
        metavar="URL",
        help="Where the service is.",
        rich_help_panel=_SERVICE,
        callback=_address,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(envvar="IMG_KEY", metavar="KEY", help="API key.", rich_help_panel=_SERVICE, show_default=False),
]
Local = Annotated[
    bool, typer.Option("--local", help="Render on this machine, without a service; img-engine has to be installed.")
]
Watermark = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="A picture to be put on every result.")
]
Json = Annotated[bool, typer.Option("--json", help="Tell it as JSON, a line each, on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Render what is there and newer, too, and make new jobs.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all that are in them.")]
AtOnce = Annotated[
    int | None,
    typer.Option("-j", min=1, metavar="N", help="So many at once. Without it 8, or fewer if /limits says so."),
]
Patience = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long a service may be away or full before it gives up.",
        rich_help_panel=_SERVICE,
    ),
]
Guid = Annotated[str, typer.Argument(metavar="GUID", help="The job's guid.")]

SERVER: Final = "http://localhost:8080"
PATIENCE: Final = 120.0


def main() -> None:
    """Run the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a file name may be no text
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left half written
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # whose reader has gone, and wants no more
            sys.stderr.write(f"img: stdout: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(version("img-client"))
        raise typer.Exit


@app.callback()
def top(
    *, _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")] = False
) -> None:
    """Resize pictures: through a service, or on this machine."""


@app.command()
@with_parameters
def resize(
    files: Annotated[list[str], typer.Argument(metavar="FILE|FOLDER|-...", help="Pictures; - is stdin.")],
    *,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FOLDER|FILE|-", help="Where results go. Without it: one, to stdout."),
    ] = None,
    recursive: Recursive = False,
    at_once: AtOnce = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done.")] = False,
    as_json: Json = False,
    html: Annotated[bool, typer.Option("--html", help="Print a <picture> of each file's variants.")] = False,
    local: Local = False,
    watermark: Watermark = None,
    server: Server = SERVER,
    key: Key = None,
    patience: Patience = PATIENCE,
    **given: Any,
) -> None:
    """Resize pictures.

    img resize *.jpg photos/ -w 800 --format webp -o out/

    img resize hero.heic -w 1280 > hero.jpg

    Results that are there, newer than their picture, are skipped. What was interrupted goes on with the same command.

    The exit status is 0, 1 if some failed, 2 if the command is wrong.
    """
    how = How(at_once, as_json, local, force, server, key, patience)
    wanted = resizing.Wanted(files, out, recursive, dry_run, html)
    raise typer.Exit(resizing.resize(wanted, parse(given, watermark), how))


@app.command()
@with_parameters
def watch(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, metavar="FOLDER", help="Where pictures come.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")],
    recursive: Recursive = False,
    at_once: AtOnce = None,
    force: Force = False,
    as_json: Json = False,
    local: Local = False,
    watermark: Watermark = None,
    server: Server = SERVER,
    key: Key = None,
    patience: Patience = PATIENCE,
    **given: Any,
) -> None:
    """Resize what comes into a folder, until Ctrl-C."""
    how = How(at_once, as_json, local, force, server, key, patience)
    raise typer.Exit(watching.watch(folder, out, parse(given, watermark), how, recursive=recursive))


@app.command()
def status(
    guid: Guid,
    *,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for its end.")] = 0,
    as_json: Json = False,
    server: Server = SERVER,
    key: Key = None,
) -> None:
    """Tell where a job is. The exit status is 1 if it failed or was cancelled."""
    raise typer.Exit(jobs.call(server, key, lambda client: jobs.status(client, guid, wait, as_json=as_json)))


@app.command()
def cancel(
    guids: Annotated[list[str], typer.Argument(metavar="GUID...", help="Guids of jobs.")],
    *,
    server: Server = SERVER,
    key: Key = None,
) -> None:
    """Cancel jobs that have not ended, and delete the files of those that have."""
    raise typer.Exit(jobs.call(server, key, lambda client: jobs.cancel(client, guids)))


@app.command(name="jobs")
def list_jobs(
    *,
    state: Annotated[State | None, typer.Option("--status", help="Only jobs in this state.", metavar="STATE")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only jobs that failed, and why: --status failed.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="24h, 30m, 7d, or a time: submitted since, or ended since if they ended."),
    ] = None,
    most: Annotated[int, typer.Option("-n", min=1, metavar="N", help="So many at most.")] = 50,
    as_json: Json = False,
    server: Server = SERVER,
    key: Key = None,
) -> None:
    """List jobs, the newest first.

    img jobs --failed --since 24h
    """
    wanted = State.FAILED if failed else state
    if failed and state not in (None, State.FAILED):
        raise typer.BadParameter("expected --failed or --status, found both", param_hint="--status")
    after = overview.moment(since) if since else None
    raise typer.Exit(jobs.call(server, key, lambda client: overview.jobs(client, wanted, after, most, as_json=as_json)))


@app.command()
def stats(*, as_json: Json = False, server: Server = SERVER, key: Key = None) -> None:
    """Tell what waits, who works, and what came of the jobs of the last hour."""
    raise typer.Exit(jobs.call(server, key, lambda client: overview.stats(client, as_json=as_json)))


@app.command()
def limits(*, as_json: Json = False, server: Server = SERVER, key: Key = None) -> None:
    """Tell what the service accepts."""
    raise typer.Exit(jobs.call(server, key, lambda client: jobs.limits(client, as_json=as_json)))
