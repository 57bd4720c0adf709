"""Which files are meant by what a person names: files, and folders with what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer


def find_sources(paths: Sequence[str], *, recursive: bool, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file once, with its path below `out`. What is hidden and what lies in `out` is none.

    Raises typer.BadParameter for what does not exist: exit status 2.
    """
    seen = set()
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = ((one, one.relative_to(path)) for one in _files_in(path, recursive=recursive, out=out))
        elif path.exists():
            found = ((one, Path(one.name)) for one in [path])
        else:
            raise typer.BadParameter(f"{text}: no such file or folder")
        for source, below in found:
            if source not in seen:
                seen.add(source)
                yield source, below


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file or folder that is there."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _files_in(folder: Path, *, recursive: bool, out: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            one for one in folders if recursive and not one.startswith(".") and not same_file(Path(place, one), out)
        )
        yield from (Path(place, one) for one in sorted(files) if not one.startswith("."))
