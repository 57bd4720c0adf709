"""The engines that are alive, by files that they touch."""

from __future__ import annotations

from typing import Final

from img_contract.job.job import new_job_id
from img_contract.volume.files import modified_ns, storage_faults, write_durably
from img_contract.volume.layout import Layout

ENGINE_SILENCE_SECONDS: Final = 30.0
"""An engine that has not announced itself for this long is not counted as alive."""


class Engines:
    """The engines of one volume. Every method raises StoreError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def announce(self, engine: str) -> None:
        """Say that this engine is alive."""
        with storage_faults():
            (self._layout.engines / engine).touch()

    def withdraw(self, engine: str) -> None:
        """Say that this engine has stopped."""
        with storage_faults():
            (self._layout.engines / engine).unlink(missing_ok=True)

    def alive(self) -> list[str]:
        """Prove that the volume takes writes, and name the engines that are alive."""
        # The probe's mtime is the volume's own clock: the engines' mtimes are compared with it, never with this
        # machine's clock. That it can be written is the proof that the volume takes writes.
        probe = self._layout.incoming / f".probe-{new_job_id()}"
        with storage_faults():
            write_durably(probe, b"")
            present = modified_ns(probe)
            probe.unlink()
            seen = {path.name: modified_ns(path) for path in self._layout.engines.iterdir()}
        return [name for name, last in seen.items() if present - last < ENGINE_SILENCE_SECONDS * 1e9]
