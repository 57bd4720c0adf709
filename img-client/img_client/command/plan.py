"""Which files are rendered, which are left out and why, and where the results go. Nothing is written here."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer
from img_contract.job.formats import SIGNATURE_BYTES, Format, format_name, sniff
from img_contract.job.resize import Resize

from img_client.command.ending import Ending, State
from img_client.command.sources import same_file
from img_client.command.targets import Target, changed

STDIN: Final = "-"


@dataclass(frozen=True)
class Item:
    """One picture to render."""

    shown: str
    """As the person named it; `-` for stdin."""
    source: Path | bytes
    """Bytes: what stdin gave."""
    target: Target | None
    """None for stdout."""


@dataclass
class Plan:
    """What is to be done."""

    items: list[Item] = field(default_factory=list)
    skipped: list[Ending] = field(default_factory=list)


def make_plan(sources: Iterator[tuple[Path, Path]], named: Sequence[str], out: Path, resize: Resize) -> Plan:
    """Decide which of the files are rendered into the folder `out`.

    A file that was found in a folder, and is a picture neither by its name nor by its content, is skipped; one that was
    `named` is sent all the same. Raises typer.BadParameter where two results would have one name, or a result that of a
    source.
    """
    plan, given = Plan(), {Path(text) for text in named}
    for source, below in sources:
        if not source.is_file():  # a pipe would be read for ever, and a link may lead nowhere
            state = State.FAILED if source in given else State.SKIPPED
            plan.skipped.append(Ending(file=str(source), state=state, code="not_a_file", detail="no regular file"))
            continue
        kind = _format_of(source)
        if kind is None and source not in given and not _named_as_picture(source):
            plan.skipped.append(
                Ending(file=str(source), state=State.SKIPPED, code="not_a_picture", detail="no picture")
            )
        else:
            plan.items.append(Item(str(source), source, Target(out / below.parent, source, kind)))
    _check([item.target for item in plan.items if item.target], resize)
    return plan


def leave_out_current(plan: Plan, resize: Resize, watermark: Path | None) -> None:
    """Skip the files whose results are there and newer."""
    mark = max(0.0, changed(watermark)) if watermark else 0.0
    kept = []
    for item in plan.items:
        if (
            item.target
            and isinstance(item.source, Path)
            and item.target.current(resize, max(mark, changed(item.source)))
        ):
            paths = [str(path) for paths in item.target.candidates(resize) for path in paths if path.exists()]
            why = "the result is newer; --force renders it again"
            plan.skipped.append(Ending(file=item.shown, state=State.SKIPPED, code="newer", detail=why, targets=paths))
        else:
            kept.append(item)
    plan.items = kept


def single(path: str, exact: Path | None, into: Path | None = None) -> Item:
    """Plan one picture whose result goes to a file that was named, into a folder, or, without both, to stdout."""
    source: Path | bytes
    if path == STDIN:
        source = content = sys.stdin.buffer.read()
        place, kind = Path("stdin"), sniff(content[:SIGNATURE_BYTES])
    else:
        source = place = Path(path)
        if not place.is_file():
            raise typer.BadParameter(f"{path}: no such file")
        kind = _format_of(place)
        if exact is not None:
            _check_apart(place, exact)
    folder = into or (exact.parent if exact else None)
    return Item(path, source, Target(folder, place, kind, exact=exact) if folder else None)


def _check(targets: list[Target], resize: Resize) -> None:
    """Raise typer.BadParameter where two results would have one name, or a result that of its source."""
    owners = defaultdict(list)
    for target in targets:
        for path in (path for paths in target.candidates(resize) for path in paths):
            owners[path].append(target.source)
    for path, several in owners.items():
        sources = sorted({str(source) for source in several})
        if len(sources) > 1:
            raise typer.BadParameter(
                f"{' and '.join(sources)} would both become {path}: give them folders of their own"
            )
        _check_apart(several[0], path)
    for target in targets:
        known = [paths[0] for paths in target.candidates(resize) if len(paths) == 1]
        if len(set(known)) < len(known):
            raise typer.BadParameter(f"two variants of {target.source} would have one name: give them names")


def _check_apart(source: Path, path: Path) -> None:
    if same_file(source, path):
        raise typer.BadParameter(f"{path} is a picture to be read: results need another folder or name")


def _format_of(path: Path) -> Format | None:
    try:
        with path.open("rb") as file:
            return sniff(file.read(SIGNATURE_BYTES))
    except OSError:
        return None  # what is wrong is told when it is sent


def _named_as_picture(path: Path) -> bool:
    name = format_name(path.suffix[1:])
    return name in list(Format) or name in ("heif", "jfif", "apng")
