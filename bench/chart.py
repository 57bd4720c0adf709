"""The ratios as a picture: an SVG whose colours are read on white and on black."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from findings import Findings, middle
from one_core import ratios

_TEXT: Final = "#737d87"
_COLOURS: Final = {"sharp": "#2f9e6e", "pyvips": "#5b8def"}
_WIDTH: Final = 880
_LEFT: Final = 310
_RIGHT: Final = 60
_TOP: Final = 64
_BAR: Final = 12
_GAP: Final = 14
_LABEL: Final = 34


def chart(findings: Findings) -> str:
    """CPU time of sharp and pyvips as multiples of ours, a group of bars a row."""
    others = [name for name in _COLOURS if name in findings.contenders]
    shown = {
        name: {other: middle(found) for other in others if (found := ratios(of_row, other))}
        for name, of_row in findings.table.items()
    }
    shown = {name: bars for name, bars in shown.items() if bars}
    largest = max([1.0, *(value for bars in shown.values() for value in bars.values())])
    unit = (_WIDTH - _LEFT - _RIGHT) / (math.ceil(largest * 4) / 4)
    marks = [*_legend(others)]
    y = _TOP
    for name, bars in shown.items():
        middle_y = y + len(bars) * _BAR / 2 + 4
        marks.append(_text(_LEFT - 12, middle_y, findings.title(name), "end"))
        for other, value in bars.items():
            width = value * unit
            marks.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{_COLOURS[other]}"/>'
            )
            past = unit if unit - _LABEL < width < unit else width  # no figure stands on the line
            marks.append(_text(_LEFT + past + 6, y + _BAR - 3, f"{value:.2f}", "start", 11))
            y += _BAR
        y += _GAP
    one = _LEFT + unit
    line = (
        f'<line x1="{one:.1f}" y1="{_TOP - 6}" x2="{one:.1f}" y2="{y - _GAP + 4}" stroke="{_TEXT}" stroke-width="1.5"/>'
    )
    marks += [line, _text(one, _TOP - 12, "ours = 1", "middle", 12)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="system-ui, sans-serif">'
    return "\n".join([head, *marks, "</svg>"]) + "\n"


def _legend(others: list[str]) -> list[str]:
    marks = [_text(8, 20, "CPU time an image, divided by ours: past the line, ours is the faster one")]
    x = _WIDTH - _RIGHT - 90 * len(others)
    for other in others:
        marks += [f'<rect x="{x}" y="11" width="10" height="10" fill="{_COLOURS[other]}"/>', _text(x + 16, 20, other)]
        x += 90
    return marks


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 13) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="{_TEXT}">{escape(words)}</text>'
