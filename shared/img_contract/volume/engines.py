"""The engines that are alive, by files that they touch."""

from __future__ import annotations

from typing import Final

from img_contract.volume.files import modified_ns, storage_faults
from img_contract.volume.layout import Layout
from img_contract.volume.proof import prove

ENGINE_SILENCE_SECONDS: Final = 30.0
"""An engine that has not announced itself for this long is not counted as alive."""


class Engines:
    """The engines of one volume. Every method raises StoreError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def announce(self, engine: str) -> None:
        """Say that this engine is alive."""
        with storage_faults("announce an engine", self._layout.engines):
            (self._layout.engines / engine).touch()

    def withdraw(self, engine: str) -> None:
        """Say that this engine has stopped."""
        with storage_faults("withdraw an engine", self._layout.engines):
            (self._layout.engines / engine).unlink(missing_ok=True)

    def alive(self) -> list[str]:
        """Prove that the volume can do what jobs need, and name the engines that are alive."""
        present = prove(self._layout)
        with storage_faults("look for engines", self._layout.engines):
            seen = {path.name: modified_ns(path) for path in self._layout.engines.glob("[!.]*")}
        return [name for name, last in seen.items() if present - last < ENGINE_SILENCE_SECONDS * 1e9]
