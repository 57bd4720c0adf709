"""Removing the hours of a journal when none of their jobs is left."""

from __future__ import annotations

from typing import Final

from img_contract.volume.journal import Journal
from img_contract.volume.layout import Layout

_BATCH_BYTES: Final = 128 * 1024
"""A thousand lines or so, each of which costs a look for a folder."""


class JournalCleanup:
    """Goes through one journal, hour after hour, and looks at each line once; where a job is left, it comes back."""

    def __init__(self, layout: Layout, journal: Journal) -> None:
        self._layout = layout
        self._journal = journal
        self._gone: dict[str, int] = {}
        """How many bytes of each hour are of jobs that are gone."""
        self._hour = ""
        """Which was looked at last."""

    def run_batch(self, before: float) -> None:
        """Look at a part of the next hour to which nothing was written since `before`, in seconds since the epoch.

        Raises OSError.
        """
        hours = sorted(self._journal.hours())
        self._gone = {hour: self._gone.get(hour, 0) for hour in hours}
        later = [hour for hour in hours if hour > self._hour]
        self._hour = (later or hours or [""])[0]
        try:
            if not self._hour or self._journal.modified(self._hour) >= before:
                return
        except FileNotFoundError:
            return  # another engine was faster
        lines, end = self._journal.forwards(self._hour, self._gone[self._hour], _BATCH_BYTES)
        for offset, words in lines:
            if len(words) > 1 and self._layout.exists(words[1]):
                self._gone[self._hour] = offset
                return
        if end == self._gone[self._hour]:
            self._journal.remove(self._hour)
        self._gone[self._hour] = end
