"""docs/benchmarks.md, written from the findings of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from findings import Findings, middle, ratio_rounds, table_of, with_spread
from one_core import Figures, geometric_mean, ratios
from serving_report import serving_section

_METHOD: Final = Path(__file__).with_name("method.md")


def page(findings: Findings, chart: str | None) -> str:
    """The page as Markdown. `chart` is the picture's file name, if there is one."""
    return "\n\n".join(_parts(findings, chart)) + "\n"


def _parts(findings: Findings, chart: str | None) -> Iterator[str]:
    yield "# Benchmarks"
    yield "`make bench` writes this page; no figure in it was typed by hand. Above 1, ours is the faster one."
    if findings.absent:
        yield f"Not part of this run: {'; '.join(findings.absent)}."
    if findings.table:
        yield from _one_core(findings, chart)
    if findings.rates:
        yield from _all_cores(findings)
    if findings.served:
        yield from serving_section(findings)
    yield _METHOD.read_text(encoding="utf-8").strip()
    yield from _where(findings)


def _one_core(findings: Findings, chart: str | None) -> Iterator[str]:
    yield "## CPU time, one core"
    others = [name for name in findings.contenders if name != "ours"]
    means = {other: mean for other in others if (mean := geometric_mean(findings.table, other))}
    if means:
        yield "Geometric mean of the rows: " + ", ".join(
            f"**{name} ÷ ours {mean:.2f}**" for name, mean in means.items()
        )
    if chart and means:
        yield f"![CPU time an image, divided by ours]({chart})"
    head = ["task", *(f"{other} ÷ ours" for other in others), *(f"{name}, ms" for name in findings.contenders)]
    yield table_of(
        head,
        [
            [
                findings.title(name),
                *(with_spread(ratios(of_row, other)) for other in others),
                *(_milliseconds(of_row[contender]) for contender in findings.contenders),
            ]
            for name, of_row in findings.table.items()
        ],
    )
    reasons = [
        f"- {findings.title(name)}, {contender}: {figures.failed}"
        for name, of_row in findings.table.items()
        for contender, figures in of_row.items()
        if figures.failed
    ]
    if reasons:
        yield "Not there yet:\n\n" + "\n".join(reasons)
    yield "### Size and fidelity"
    names = findings.contenders
    head = ["task", *(f"{n}, bytes" for n in names), *(f"{n}, SSIM" for n in names), *(f"{n}, ΔE" for n in names)]
    yield table_of(
        head,
        [
            [
                findings.title(name),
                *(f"{of_row[n].bytes:,}" if not of_row[n].failed else "" for n in names),
                *(_number(of_row[n].ssim, 4) for n in names),
                *(_number(of_row[n].delta_e, 2) for n in names),
            ]
            for name, of_row in findings.table.items()
        ],
    )


def _all_cores(findings: Findings) -> Iterator[str]:
    yield "## Images a second, all cores"
    rows = [
        [findings.title(name), with_spread(ratio_rounds(rates["ours"], rates["sharp"])) if "sharp" in rates else ""]
        + [f"{middle(rates[team]):.1f}" for team in rates]
        for name, rates in findings.rates.items()
    ]
    teams = next(iter(findings.rates.values()))
    yield table_of(["task", "ours ÷ sharp", *(f"{team}, images/s" for team in teams)], rows)


def _where(findings: Findings) -> Iterator[str]:
    yield "## Where"
    lines = [f"- {findings.machine}", f"- the photo: {findings.photo}"]
    for name, parts in findings.versions.items():
        lines.append(f"- {name}: " + ", ".join(f"{part} {version}" for part, version in parts.items()))
    yield "\n".join(lines)


def _milliseconds(figures: Figures) -> str:
    return f"{middle(figures.cpu_ms):.1f}" if figures.cpu_ms else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
