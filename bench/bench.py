"""The benchmark: img-engine against sharp and pyvips, and the whole service against other servers.

make bench, or python bench/bench.py --help. Writes docs/benchmarks.md and the chart beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import all_cores
import contenders
import looks
import machine
import one_core
import pictures
import servers
import serving
from chart import chart
from contenders import Worker
from findings import Findings
from report import page
from rows import ALL_CORES, ROWS, SERVED, Row, chosen

_PARTS: Final = ("one-core", "all-cores", "servers")
_PAGE: Final = pictures.TOP / "docs" / "benchmarks.md"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the page. Returns the exit status."""
    options = _options(arguments)
    rows, served = chosen(options.rows, ROWS), chosen(options.rows, SERVED)
    work = options.work.resolve()
    needed = (*rows * (options.parts != ["servers"]), *served * ("servers" in options.parts))
    photo = pictures.prepare(work / "pictures", {row.picture for row in needed})
    shutil.rmtree(work / "results", ignore_errors=True)
    (work / "results").mkdir()
    reasons = {name: contenders.absent(name) for name in contenders.NAMES}
    present = [name for name in contenders.NAMES if reasons[name] is None]
    if options.before:
        present.append(contenders.BEFORE)
    findings = Findings(machine.machine(), photo, rows, present, [reason for reason in reasons.values() if reason])
    if "one-core" in options.parts:
        _one_core(findings, work, options.rounds, options.before)
    if "all-cores" in options.parts:
        _all_cores(findings, work, _fewer(options.rounds))
    if "servers" in options.parts:
        _servers(findings, served, work, options)
    if options.json:
        findings.write_json(options.json)
    whole = not options.rows and set(options.parts) == set(_PARTS) and not options.before
    _publish(findings, options.output or (_PAGE if whole else None))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure img-engine against sharp and pyvips, and the service against other servers."
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds on one core; the other parts do half as many")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="names or groups of rows, e.g. jpeg")
    parser.add_argument("--parts", nargs="+", default=list(_PARTS), choices=_PARTS, help="what is measured")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="another commit, checked out with its .venv",
    )
    parser.add_argument("--seconds", type=float, default=2.5, help="of load, for each server in each round")
    parser.add_argument("--work", type=Path, default=contenders.HERE / ".work", metavar="FOLDER", help="what it writes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the raw figures")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"the page; {_PAGE.name} in docs after a whole run, else printed"
    )
    options = parser.parse_args(arguments)
    if not chosen(options.rows, (*ROWS, *SERVED)):
        parser.error(f"expected rows of {', '.join(row.name for row in (*ROWS, *SERVED))}")
    return options


def _one_core(findings: Findings, work: Path, rounds: int, before: Path | None) -> None:
    results = work / "results"
    with _started(findings.contenders, work, pinned=True, before=before) as workers:
        findings.versions |= machine.versions(workers)
        _say("one core: warming up")
        findings.table = one_core.warm_up(workers, findings.rows, work / "pictures", results)
        looks.check_sizes(findings.table)
        for number in range(rounds):
            _say(f"one core: round {number + 1} of {rounds}")
            one_core.measure_round(workers, findings.rows, work / "pictures", findings.table)
    _say("fidelity")
    _look(
        findings,
        [
            (work / "pictures" / row.picture, figures)
            for row in findings.rows
            for figures in findings.table[row.name].values()
            if figures.files and figures.failed is None
        ],
    )


def _all_cores(findings: Findings, work: Path, rounds: int) -> None:
    rows: Sequence[Row] = [row for row in findings.rows if row.name in ALL_CORES]
    names = ["ours"] * machine.CORES + ["sharp"] * ("sharp" in findings.contenders)
    with _started(names, work, pinned=False) as workers:
        teams = {name: [worker for worker in workers if worker.name == name] for name in dict.fromkeys(names)}
        all_cores.warm_up(teams, rows, work / "pictures")
        for number in range(rounds):
            _say(f"all cores: round {number + 1} of {rounds}")
            all_cores.measure_round(teams, rows, work / "pictures", findings.rates)


def _servers(findings: Findings, rows: Sequence[Row], work: Path, options: argparse.Namespace) -> None:
    made, reasons = servers.present(options.before)
    findings.absent += reasons
    for row in rows:
        _say(f"servers: {row.title}")
        findings.served[row.name] = serving.measure(
            made, row, work, _fewer(options.rounds), options.seconds, findings.absent
        )
    findings.versions |= servers.versions(list(made))
    _say("servers: fidelity")
    _look(
        findings,
        [
            (work / "pictures" / row.picture, load)
            for row in rows
            for load in findings.served[row.name].values()
            if load.files
        ],
    )


def _look(findings: Findings, results: Sequence[tuple[Path, looks.Seen]]) -> None:
    missing = "fidelity (scikit-image is not installed)"
    if not looks.add_fidelity(results) and missing not in findings.absent:
        findings.absent.append(missing)


@contextmanager
def _started(names: Sequence[str], work: Path, *, pinned: bool, before: Path | None = None) -> Iterator[list[Worker]]:
    """A worker for each name: all on the last core if they take turns, else wherever there is room."""
    core = max(os.sched_getaffinity(0)) if pinned else None
    workers = [Worker(name, work, core, all_cores=not pinned, before=before) for name in names]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def _fewer(rounds: int) -> int:
    return max(1, (rounds + 1) // 2)


def _publish(findings: Findings, path: Path | None) -> None:
    if path is None:
        print(page(findings, None))
        return
    picture = path.with_suffix(".svg")
    drawn = bool(findings.table) and len(findings.contenders) > 1
    if drawn:
        picture.write_text(chart(findings), encoding="utf-8")
    path.write_text(page(findings, picture.name if drawn else None), encoding="utf-8")
    _say(f"written: {path}")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
