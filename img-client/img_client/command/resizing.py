"""`img resize`: files are planned, rendered and reported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from img_contract.job.formats import WRITABLE, format_name

from img_client.command.batch import render_all
from img_client.command.ending import Ending, State
from img_client.command.html import picture, shown
from img_client.command.parameters import Asked, parse
from img_client.command.plan import STDIN, Item, Plan, leave_out_current, make_plan, single
from img_client.command.renderers import OK, SOME_FAILED, How, renderer, run
from img_client.command.report import Report
from img_client.command.sources import find_sources


@dataclass(frozen=True)
class Wanted:
    """What `img resize` is given."""

    files: Sequence[str]
    out: str | None
    recursive: bool
    dry_run: bool
    html: bool


def resize(wanted: Wanted, asked: Asked, how: How) -> int:
    """Render files; return the exit status. Raises typer.BadParameter."""
    plan, asked = _plan(wanted, asked, how)
    if wanted.dry_run:
        _tell(plan, asked, how)
        return OK
    with Report(len(plan.items) + len(plan.skipped), as_json=how.as_json) as report:
        for ending in plan.skipped:
            report.ended(ending)
        status = run(_rendered(plan.items, asked, how, report), "stopped; the same command goes on where it was")
        report.finish()
    if wanted.html and wanted.out:
        done = {one.file: one for one in report.endings if one.state is State.DONE}
        for item in plan.items:
            if item.shown in done:
                typer.echo(picture(done[item.shown], Path(wanted.out)))
                if not shown(done[item.shown]):
                    sys.stderr.write(f"img: {item.shown}: browsers show none of its results: --format jpeg, or auto\n")
    return status or (SOME_FAILED if report.failed else OK)


async def _rendered(items: Sequence[Item], asked: Asked, how: How, report: Report) -> None:
    if items:
        async with renderer(asked, how, report) as (by, at_once):
            await render_all(items, by, at_once, report)


def _plan(wanted: Wanted, asked: Asked, how: How) -> tuple[Plan, Asked]:
    """Plan what is wanted; the format may follow from the name of the result."""
    files, out = wanted.files, None if wanted.out == STDIN else wanted.out
    alone = len(files) == 1 and not Path(files[0]).is_dir()
    if wanted.html and (out is None or how.as_json):
        raise typer.BadParameter("--html needs a folder, -o FOLDER, and stdout for itself")
    if out is not None and not _names_a_file(out):
        return _plan_folder(wanted, Path(out), asked, how), asked
    if not alone or asked.resize.variants or wanted.html:
        raise typer.BadParameter("several results need a folder: -o FOLDER")
    if out is None and how.as_json:
        raise typer.BadParameter("stdout cannot have both the picture and what is told of it: -o says where it goes")
    if wanted.out is None and sys.stdout.isatty():
        raise typer.BadParameter("a picture is nothing for a terminal: -o FOLDER or FILE, or > FILE")
    if out is not None and "format" not in asked.given:
        asked = parse(asked.given | {"format": Path(out).suffix[1:]}, asked.watermark)
    return Plan([single(files[0], None if out is None else Path(out))]), asked


def _plan_folder(wanted: Wanted, out: Path, asked: Asked, how: How) -> Plan:
    if STDIN in wanted.files:
        if len(wanted.files) > 1:
            raise typer.BadParameter("- is stdin, and stands alone")
        return Plan([single(STDIN, None, into=out)])
    sources = find_sources(wanted.files, recursive=wanted.recursive, out=out)
    plan = make_plan(sources, wanted.files, out, asked.resize)
    if not how.force and not wanted.html:  # for HTML, the sizes of all results have to be known
        leave_out_current(plan, asked.resize, asked.watermark)
    return plan


def _names_a_file(out: str) -> bool:
    """Return whether a result's place is a file, not a folder: a name with a suffix, which has to be a format's."""
    suffix = Path(out).suffix[1:]
    if out.endswith("/") or Path(out).is_dir() or not suffix:
        return False
    if format_name(suffix) not in WRITABLE:
        formats = ", ".join(WRITABLE)
        raise typer.BadParameter(
            f"{out}: expected a file that ends in one of {formats}, or a folder: {out}/ for a new one"
        )
    return True


def _tell(plan: Plan, asked: Asked, how: How) -> None:
    """Print what would be done."""
    for item in plan.items:
        results = item.target.candidates(asked.resize) if item.target else []
        # Where a result may get one of several suffixes, the engine decides.
        targets = [str(paths[0]) if len(paths) == 1 else _beginning(paths) + "*" for paths in results] or [STDIN]
        _print(Ending(file=item.shown, state=State.PLANNED, targets=targets), how)
    for ending in plan.skipped:
        _print(ending, how)


def _beginning(paths: Sequence[Path]) -> str:
    return os.path.commonprefix([str(path) for path in paths])  # noqa: RUF071  they differ in their suffixes alone


def _print(ending: Ending, how: How) -> None:
    if how.as_json:
        typer.echo(ending.model_dump_json(exclude_defaults=True))
    elif ending.state is State.PLANNED:
        typer.echo(f"{ending.file} → {', '.join(ending.targets)}")
    else:
        typer.echo(f"{ending.file}: {ending.state}, {ending.detail}")
