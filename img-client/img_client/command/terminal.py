"""What is drawn on a terminal. Rich is imported where there is one: elsewhere nobody waits for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from img_client.command.ending import Ending


def size(count: int) -> str:
    """214 KB, 3.4 MB: decimal, as the file managers of most systems have it."""
    amount, units = float(count), ["bytes", "KB", "MB", "GB"]
    while amount >= 1000 and len(units) > 1:  # noqa: PLR2004
        amount /= 1000
        del units[0]
    return f"{amount:.1f} {units[0]}" if amount < 10 and units[0] != "bytes" else f"{amount:.0f} {units[0]}"  # noqa: PLR2004


class Live:
    """A bar on stderr that is redrawn in place."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415  see above
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        console = Console(stderr=True, highlight=False)
        line = TextColumn("{task.description}", markup=False)
        self._progress = Progress(
            *([BarColumn(bar_width=20)] if total else []), line, console=console, refresh_per_second=5, transient=True
        )
        self._total = total
        self._task: Any = None

    def start(self, line: str) -> None:
        """Show the bar."""
        self._task = self._progress.add_task(line, total=self._total)
        self._progress.start()

    def draw(self, ended: int, line: str) -> None:
        """Show how far it is."""
        self._progress.update(self._task, completed=ended, description=line)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._progress.console.print(line, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def print_failures(failed: Sequence[Ending]) -> None:
    """Print why files failed: a table on a terminal, else a line each that programs can read."""
    if failed and sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415  see above
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(title=f"{len(failed)} failed", title_justify="left")
        for name in ("file", "code", "why"):
            table.add_column(name, overflow="fold")  # a path is never cut
        for one in failed:
            table.add_row(*(Text(cell) for cell in (one.file, one.code or "", one.detail or "")))
        Console(stderr=True).print(table)
        return
    for one in failed:
        sys.stderr.write(f"img: {one.file}: {': '.join(filter(None, [one.code, one.detail]))}\n")


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout; without a terminal its rows alone, with tabs between the cells."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(" ".join(cell.split()) for cell in row) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415  see above
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table()
    for number, name in enumerate(names):
        table.add_column(name, overflow="fold", no_wrap=number == 0)  # a guid is one word
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
