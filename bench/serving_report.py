"""The part of the page about servers over HTTP."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from contenders import BEFORE
from findings import Findings, middle, ratio_rounds, table_of, with_spread
from machine import CLIENTS
from running import CHILDREN
from served import ALONE, Load

_SERVERS: Final = "server, ours ÷ it, images/s, CPU ms, clients' CPU ms, p50 ms, p99 ms, memory MB, bytes, SSIM"
_OURS: Final = (
    "task, service ÷ children alone, children alone images/s, img-rest ms, engine's parent ms, children ms, "
    "children alone ms, (img-rest + parent) ÷ children"
)


def serving_section(findings: Findings) -> Iterator[str]:
    """The paragraphs, as Markdown."""
    yield "## Servers over HTTP"
    yield (
        f"{CLIENTS} clients ask each server for pictures. Ours keeps every job: upload and result are on the disk, "
        "flushed, before it answers; the others keep nothing. With several sizes, an image is the whole set, which the "
        "others are asked for in one request a size."
    )
    for name, of_row in findings.served.items():
        yield f"### {findings.title(name)}"
        yield table_of(
            _SERVERS.split(", "),
            [[name, *_line(load, of_row["ours"])] for name, load in of_row.items() if name != ALONE],
        )
    yield "### The service and its children"
    yield table_of(
        _OURS.split(", "),
        [
            [findings.title(name) + f" ({BEFORE})" * (ours == BEFORE), *_parts(of_row[ours], of_row[ALONE])]
            for name, of_row in findings.served.items()
            for ours in ("ours", BEFORE)
            if ours in of_row
        ],
    )


def _line(load: Load, ours: Load) -> list[str]:
    return [
        "" if load is ours else with_spread(ratio_rounds(ours.rate, load.rate)),
        f"{middle(load.rate):.1f}",
        f"{middle(load.server_ms()):.1f}",
        f"{middle(load.clients_ms):.1f}",
        f"{middle(load.ms):.0f}",
        f"{statistics.quantiles(load.ms, n=100, method='inclusive')[98]:.0f}",
        f"{load.pss / 1e6:.0f}",
        f"{sum(Path(path).stat().st_size for path in load.files):,}",
        "" if load.ssim is None else f"{load.ssim:.4f}",
    ]


def _parts(ours: Load, alone: Load) -> list[str]:
    rest = _sums(ours.cpu_ms["img-rest"], ours.cpu_ms["img-rest" + CHILDREN])
    parent, children = ours.cpu_ms["img-engine"], ours.cpu_ms["img-engine" + CHILDREN]
    return [
        with_spread(ratio_rounds(ours.rate, alone.rate)),
        f"{middle(alone.rate):.1f}",
        *(f"{middle(figures):.2f}" for figures in (rest, parent, children, alone.cpu_ms["pool" + CHILDREN])),
        with_spread(ratio_rounds(_sums(rest, parent), children)),
    ]


def _sums(some: list[float], others: list[float]) -> list[float]:
    return [one + other for one, other in zip(some, others, strict=True)]
