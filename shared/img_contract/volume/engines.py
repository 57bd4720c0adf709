"""The engines that are alive, by files that they touch.

In each is how many jobs the engine has left for a newer one, if any, and in a second line its version.
What it has counted is in a file of its own, which cannot be read while half of it is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from img_contract.errors import DamagedRecord
from img_contract.job.stats import EngineMark
from img_contract.ports import ENGINE_SILENCE_SECONDS, METRICS_BYTES
from img_contract.volume.files import modified_ns, read_record, storage_faults
from img_contract.volume.layout import Layout
from img_contract.volume.proof import prove

_METRICS: Final = ".prom"


class Engines:
    """The engines of one volume. Every method raises StoreError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def announce(self, engine: str, too_new: int = 0, version: str | None = None) -> None:
        """Say that this engine is alive, and how many jobs it has left for a newer one."""
        mark, content = self._layout.engines / engine, f"{too_new or ''}\n{version or ''}".encode()
        with storage_faults("announce an engine", mark):
            descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            try:
                os.utime(descriptor)
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))
            finally:
                os.close(descriptor)

    def withdraw(self, engine: str) -> None:
        """Say that this engine has stopped."""
        with storage_faults("withdraw an engine", self._layout.engines):
            (self._layout.engines / engine).unlink(missing_ok=True)
            self._metrics_of(engine).unlink(missing_ok=True)

    def publish_metrics(self, engine: str, text: str) -> None:
        """Write what an engine has counted. Nothing is flushed: a power cut ends the count, too."""
        file = self._metrics_of(engine)
        draft = file.with_name(f".{file.name}")
        with storage_faults("publish metrics", file):
            draft.write_text(text, encoding="utf-8")
            draft.replace(file)

    def metrics(self) -> dict[str, str]:
        """Return what the engines that are alive have published, by engine; what cannot be read is left out."""
        with storage_faults("read the metrics of engines", self._layout.metrics):
            files = self._files_since(self._layout.metrics, self._layout.present_ns())
            texts = {file.name.removesuffix(_METRICS): _text(file) for file in files if file.suffix == _METRICS}
        return {engine: text for engine, text in texts.items() if text is not None}

    def alive(self) -> list[str]:
        """Prove that the volume can do what jobs need, and name the engines that are alive."""
        present = prove(self._layout)
        return [mark.name for mark in self._marks_since(present)]

    def marks(self) -> list[EngineMark]:
        """Return the engines that are alive, by name, and prove nothing."""
        with storage_faults("read the volume's clock", self._layout.incoming):
            present = self._layout.present_ns()
        with storage_faults("read the marks of engines", self._layout.engines):
            return [EngineMark(mark.name, _content(mark)[1]) for mark in sorted(self._marks_since(present))]

    def too_new(self) -> int:
        """Return how many jobs were left by each engine that was alive when the last one announced itself."""
        latest = max(map(modified_ns, self._marks_since(0)), default=0)
        with storage_faults("read the marks of engines", self._layout.engines):
            return min((_content(mark)[0] for mark in self._marks_since(latest)), default=0)

    def _marks_since(self, present: int) -> list[Path]:
        """Return the marks of the engines that were alive at a moment, in nanoseconds since the epoch."""
        with storage_faults("look for engines", self._layout.engines):
            return self._files_since(self._layout.engines, present)

    def _files_since(self, folder: Path, present: int) -> list[Path]:
        files = list(folder.glob("[!.]*"))
        return [file for file in files if present - modified_ns(file) < ENGINE_SILENCE_SECONDS * 1e9]

    def _metrics_of(self, engine: str) -> Path:
        return self._layout.metrics / f"{engine}{_METRICS}"


def _content(mark: Path) -> tuple[int, str | None]:
    """Return how many jobs an engine has left for a newer one, and its version if it said so."""
    try:
        too_new, _, version = read_record(mark).decode("ascii", "replace").partition("\n")
    except (FileNotFoundError, DamagedRecord):
        return 0, None
    return int(too_new) if too_new.isdecimal() else 0, version.strip() or None


def _text(file: Path) -> str | None:
    """Return what is in a file of metrics; None if it is gone or damaged."""
    try:
        return read_record(file, METRICS_BYTES).decode()
    except (FileNotFoundError, DamagedRecord, UnicodeDecodeError):
        return None
