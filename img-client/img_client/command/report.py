"""What is told: progress on stderr where that is a terminal, lines of JSON on stdout, failures at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Final, Self

from img_client.command.ending import Ending, State
from img_client.command.terminal import Live, print_failures, size

_SKIPPED: Final = {
    "newer": "skipped, newer results are there (--force)",
    "not_a_picture": "left out, no pictures",
    "not_a_file": "left out, no files",
}


class Report:
    """How the files of one run end."""

    def __init__(self, total: int | None, *, as_json: bool, each: bool = False) -> None:
        """Begin the report of so many files; None if nobody knows. `each`: a terminal gets a line a file."""
        self.endings: list[Ending] = []
        self.counts: Counter[State] = Counter()
        self._total = total
        self._as_json = as_json
        self._each = each
        self._before = self._after = 0
        self._began = time.monotonic()
        self._note: str | None = None
        self._live = Live(total) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start(self._line())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    @property
    def failed(self) -> bool:
        """Whether any file failed."""
        return self.counts[State.FAILED] > 0

    def ended(self, ending: Ending) -> None:
        """Tell what came of a file."""
        self.counts[ending.state] += 1
        if ending.state is not State.SKIPPED or not self._each:  # a watch goes on for months
            self.endings.append(ending)
        if ending.state is State.DONE and ending.bytes:
            self._before += ending.bytes
            self._after += sum(one.bytes for one in ending.outputs)
        if self._as_json:
            print(ending.model_dump_json(exclude_defaults=True), flush=True)  # noqa: T201  what a command is for
        elif self._each:
            self._tell(ending)
        self._redraw()

    def note(self, text: str | None) -> None:
        """Tell a person why nothing goes on; None when it does."""
        if text != self._note:
            self._note = text
            self._redraw()

    def finish(self) -> None:
        """Take the bar away; tell the sum, and every failure."""
        if self._live:
            self._live.stop()
            self._live.say(self._sum())
        if not self._as_json and not self._each:
            print_failures([one for one in self.endings if one.state is State.FAILED])
            newer = sum(one.code == "newer" for one in self.endings)
            if newer and not self._live:  # a terminal has it in the sum
                sys.stderr.write(f"img: {newer} {_SKIPPED['newer']}\n")

    def _redraw(self) -> None:
        if self._live:
            self._live.draw(len(self.endings), self._line())

    def _tell(self, ending: Ending) -> None:
        if ending.state is State.FAILED:
            print_failures([ending])
        elif self._live and ending.state is State.DONE:
            made = ", ".join(f"{one.path} {size(one.bytes)}" for one in ending.outputs)
            self._live.say(f"{ending.file} {size(ending.bytes or 0)} → {made}")

    def _line(self) -> str:
        """143/200 · 71 % · 12/s · −88 % · 2 failed."""
        ended = sum(self.counts.values())
        worked = ended - self.counts[State.SKIPPED]
        seconds = time.monotonic() - self._began
        parts = [f"{ended}/{self._total}" if self._total is not None else str(ended)]
        if self._total:
            parts.append(f"{100 * ended // self._total} %")
        if worked and seconds and self._total:  # a watch is mostly idle
            parts.append(f"{worked / seconds:.2g}/s" if worked / seconds < 10 else f"{worked / seconds:.0f}/s")  # noqa: PLR2004
        return " · ".join([*parts, *self._shares(), *([self._note] if self._note else [])])

    def _shares(self) -> list[str]:
        parts = []
        if self._before:
            saved = 100 - 100 * self._after / self._before
            parts.append(f"{'−' if saved >= 0 else '+'}{abs(saved):.0f} %")
        if self.counts[State.FAILED]:
            parts.append(f"{self.counts[State.FAILED]} failed")
        return parts

    def _sum(self) -> str:
        seconds = time.monotonic() - self._began
        parts = [f"{self.counts[State.DONE]} done in {seconds:.1f} s"]
        if self._before:
            parts.append(f"{size(self._before)} → {size(self._after)}")
        parts += self._shares()
        reasons = Counter(one.code for one in self.endings if one.state is State.SKIPPED)
        parts += [f"{count} {_SKIPPED.get(code or '', 'skipped')}" for code, count in reasons.items()]
        warned = Counter(warning.code for one in self.endings for warning in one.warnings)
        parts += [f"{count} × {code}" for code, count in warned.most_common()]
        return " · ".join(parts)
