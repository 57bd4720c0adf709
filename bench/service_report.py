"""The part of the page about the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from findings import middle, ratio_rounds, table_of, with_spread
from service import CLIENTS, CORES, Comparison, Load

_PARTS: Final = ("children", "img-rest", "img-engine", "parent", "clients")


def service_section(found: Comparison) -> Iterator[str]:
    """The paragraphs, as Markdown."""
    yield "## The whole service against its own children"
    rate = ratio_rounds(found.http.rate, found.pool.rate)
    clients = middle(ratio_rounds(found.http.cpu_ms["clients"], _total(found.http)))
    yield (
        f"{CLIENTS} clients post the 2725×2225 JPEG, wait, and fetch it 720 pixels wide: "
        f"**{with_spread(rate)} of the images a second** that the same number of children does without the service. "
        f"The clients took {clients:.0%} of the CPU time on the HTTP side. CPU time of the bare children ÷ that of "
        f"clients and service together: {with_spread(ratio_rounds(_total(found.pool), _total(found.http)))}."
    )
    sides = {"through HTTP": found.http, "children alone": found.pool}
    yield table_of(
        ["", "images/s", *(f"{part}, ms" for part in _PARTS), "idle, ms"],
        [
            [name, f"{middle(side.rate):.1f}", *(_cpu_of(side, part) for part in _PARTS), f"{middle(_idle(side)):.2f}"]
            for name, side in sides.items()
        ],
    )
    yield (
        f"Milliseconds are CPU time an image. Idle is what the {CORES} cores had left: waiting for the disk, or other "
        "work of the machine. `parent` is the process that gives the bare children their work."
    )


def _total(load: Load) -> list[float]:
    return [sum(parts) for parts in zip(*load.cpu_ms.values(), strict=True)]


def _idle(load: Load) -> list[float]:
    return [CORES * 1000 / rate - used for rate, used in zip(load.rate, _total(load), strict=True)]


def _cpu_of(load: Load, part: str) -> str:
    return f"{middle(load.cpu_ms[part]):.2f}" if part in load.cpu_ms else ""
