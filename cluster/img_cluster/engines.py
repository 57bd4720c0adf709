"""The engines that are alive, by objects that they write.

In each is how many jobs the engine has left for a newer one, and in a second line its version.
What it has counted is in an object of its own, which is written less often.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from img_contract.job.stats import EngineMark
from img_contract.ports import ENGINE_SILENCE_SECONDS, METRICS_BYTES

from img_cluster.bucket import Bucket
from img_cluster.objects import ENGINES, METRICS
from img_cluster.proof import prove

_ANNOUNCE_SECONDS: Final = 10.0
"""Each announcement is a request that costs money."""

_PUBLISH_SECONDS: Final = 15.0
"""The same of metrics: as often as they are usually scraped."""


class Engines:
    """The engines of one store. Every method raises StoreError."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._announced: tuple[float, int] | None = None
        self._published_at = float("-inf")
        self._versions: dict[str, str] = {}

    def announce(self, engine: str, too_new: int = 0, version: str | None = None) -> None:
        """Say that this engine is alive, and how many jobs it has left for a newer one."""
        present = time.monotonic()
        with self._lock:
            if self._announced and present - self._announced[0] < _ANNOUNCE_SECONDS and self._announced[1] == too_new:
                return
            self._bucket.put(f"{ENGINES}/{engine}", f"{too_new}\n{version or ''}".encode())
            self._announced = present, too_new

    def withdraw(self, engine: str) -> None:
        """Say that this engine has stopped."""
        with self._lock:
            self._announced = None
            self._bucket.delete([f"{ENGINES}/{engine}", f"{METRICS}/{engine}"])

    def publish_metrics(self, engine: str, text: str) -> None:
        """Write what an engine has counted, if that was not done just now."""
        present = time.monotonic()
        if present - self._published_at >= _PUBLISH_SECONDS:
            self._bucket.put(f"{METRICS}/{engine}", text.encode())
            self._published_at = present

    def metrics(self) -> dict[str, str]:
        """Return what the engines that are alive have published, by engine; what cannot be read is left out."""
        texts = {name: self._text(name) for name in self.names()}
        return {name: text for name, text in texts.items() if text is not None}

    def alive(self) -> list[str]:
        """Prove that the store can do what jobs need, and name the engines that are alive."""
        prove(self._bucket)
        return self.names()

    def too_new(self) -> int:
        """Return how many jobs every engine that is alive has left."""
        counts = [self._content(name)[0] for name in self.names()]
        return min((int(count) for count in counts if count.isdecimal()), default=0)

    def marks(self) -> list[EngineMark]:
        """Return the engines that are alive, by name; each is read once."""
        names = self.names()
        with self._lock:
            self._versions = {name: self._versions.get(name) or self._content(name)[1] for name in names}
            return [EngineMark(name, self._versions[name] or None) for name in names]

    def names(self) -> list[str]:
        """Name the engines that are alive."""
        present = self._bucket.now()
        marks = self._bucket.names(ENGINES)
        return [name for name, mark in marks.items() if present - mark.modified < ENGINE_SILENCE_SECONDS]

    def _content(self, name: str) -> tuple[str, str]:
        """Return how many jobs an engine has left for a newer one, and its version."""
        content = self._bucket.read(f"{ENGINES}/{name}") or b"0"
        too_new, _, version = content.decode("ascii", "replace").partition("\n")
        return too_new, version.strip()

    def _text(self, engine: str) -> str | None:
        file = self._bucket.open(f"{METRICS}/{engine}")
        if file is None or file.size > METRICS_BYTES:
            return None
        try:
            return file.readall().decode()
        except UnicodeDecodeError:
            return None
