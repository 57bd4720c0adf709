"""What servers did under load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ALONE: Final = "children alone"
"""The name of the engine's children without the service."""


@dataclass
class Load:
    """What one server did with one row; a figure a round where it is a list."""

    files: list[str] = field(default_factory=list)
    """One result of each width, kept to be looked at."""
    rate: list[float] = field(default_factory=list)
    """Uploads a second, with all their results."""
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    """CPU milliseconds an upload, by part; see Usage.cpu()."""
    clients_ms: list[float] = field(default_factory=list)
    """CPU milliseconds of the clients an upload."""
    ms: list[float] = field(default_factory=list)
    """Milliseconds from a client's request to its last result, of all rounds."""
    pss: int = 0
    """Most bytes of memory while the load warmed up."""
    ssim: float | None = None
    delta_e: float | None = None
    """Fidelity: against the exact result."""

    def add(self, told: Mapping[str, Any], cpu: Mapping[str, float]) -> None:
        """Append a round; CPU in seconds."""
        self.rate.append(told["rate"])
        self.clients_ms.append(told["cpu"] / told["done"] * 1000)
        self.ms += told["ms"]
        for part, used in cpu.items():
            self.cpu_ms.setdefault(part, []).append(used / told["done"] * 1000)

    def server_ms(self) -> list[float]:
        """CPU milliseconds an upload of all parts together."""
        return [sum(parts) for parts in zip(*self.cpu_ms.values(), strict=True)]


Served = dict[str, dict[str, Load]]
"""By row, then by server."""
