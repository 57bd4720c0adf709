"""Entries of a palette for colours that few pixels have, so that a small red button stays red.

Median cut gives entries to where many pixels are. Here the colours that it serves worst get entries of their own, in
place of pairs of entries that are nearly the same; each exchange makes the sum of all squared errors smaller (Ward's
criterion: merging two clusters of a and b pixels at a distance d adds ab ÷ (a + b) · d²).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from PIL import Image, ImageChops

_VISIBLE: Final = 20
"""An error of more than this in any channel is looked at."""

_MOST_ENTRIES: Final = 32
"""That are exchanged."""

_BIN: Final = 4
"""Bits of a channel by which badly served pixels are gathered."""


def with_rare_colours(indexed: Image.Image, original: Image.Image, shown: Image.Image | None = None) -> Image.Image:
    """Return a quantised picture (P) with better entries; the same one if none is badly off.

    `original` is RGB; `shown` masks the pixels that count, 255 where they do.
    """
    error = ImageChops.difference(original, indexed.convert("RGB"))
    red, green, blue = error.split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    if shown is not None:
        largest = ImageChops.darker(largest, shown)
    if largest.getextrema()[1] <= _VISIBLE:  # type: ignore[operator]  # L has numbers
        return indexed
    rows, columns = np.nonzero(np.asarray(largest) > _VISIBLE)
    wanted = np.asarray(original)[rows, columns].astype(np.float32)
    lost = (np.asarray(error)[rows, columns].astype(np.float32) ** 2).sum(axis=-1)
    entries = np.array(indexed.getpalette() or [], np.float32).reshape(-1, 3)
    pixels = np.asarray(indexed)
    counts = np.bincount(pixels.ravel(), minlength=len(entries)).astype(np.float32)
    costs = _merging_costs(entries, counts)
    merged_into = np.arange(256, dtype=np.uint8)
    added: list[tuple[int, Any]] = []
    for members in _clusters(wanted, lost):
        colour = wanted[members].mean(axis=0)
        gain = lost[members] - ((wanted[members] - colour) ** 2).sum(axis=-1)
        first, second = (int(at) for at in np.unravel_index(int(costs.argmin()), costs.shape))
        if gain[gain > 0].sum() <= costs[first, second]:
            break
        _merge(entries, counts, costs, first, second)
        merged_into[merged_into == second] = first
        entries[second] = colour
        added.append((second, members[gain > 0]))
    if not added:
        return indexed
    pixels = merged_into[pixels]
    for entry, members in added:
        pixels[rows[members], columns[members]] = entry
    return _centred(entries, pixels, original, shown)


def _clusters(colours: Any, lost: Any) -> list[Any]:
    """Gather pixels of about the same colour; return the indices of each group, those that lost most first."""
    levels = colours.astype(np.uint32) >> (8 - _BIN)
    keys = (levels[:, 0] << 2 * _BIN) | (levels[:, 1] << _BIN) | levels[:, 2]
    sums = np.bincount(keys, weights=lost)
    worst = np.argsort(sums)[::-1][:_MOST_ENTRIES]
    return [np.nonzero(keys == key)[0] for key in worst if sums[key]]


def _merging_costs(entries: Any, counts: Any) -> Any:
    """Return what merging each pair costs; infinite but where the first has the smaller number."""
    squares = (entries**2).sum(axis=-1)
    distances = squares[:, None] + squares - 2 * (entries @ entries.T)
    costs = distances.clip(0) * (counts[:, None] * counts / np.maximum(counts[:, None] + counts, 1))
    costs[~np.tri(len(entries), dtype=bool).T | np.eye(len(entries), dtype=bool)] = np.inf
    return costs


def _merge(entries: Any, counts: Any, costs: Any, first: int, second: int) -> None:
    """Merge the second entry into the first, and take it out of all pairs."""
    total = counts[first] + counts[second]
    if total:
        entries[first] = (entries[first] * counts[first] + entries[second] * counts[second]) / total
    counts[first], counts[second] = total, 0
    costs[second, :] = costs[:, second] = np.inf
    distances = ((entries - entries[first]) ** 2).sum(axis=-1) * counts * total / np.maximum(counts + total, 1)
    alive = np.isfinite(costs[first]) | np.isfinite(costs[:, first])
    above = np.arange(len(entries)) > first
    costs[first] = np.where(alive & above, distances, np.inf)
    costs[:, first] = np.where(alive & ~above, distances, np.inf)
    costs[first, first] = np.inf


def centred(indexed: Image.Image, original: Image.Image, shown: Image.Image | None = None) -> Image.Image:
    """Return a quantised picture (P) whose entries are the means of the colours that they stand for."""
    entries = np.array(indexed.getpalette() or [], np.float32).reshape(-1, 3)
    return _centred(entries, np.asarray(indexed), original, shown)


def _centred(entries: Any, pixels: Any, original: Image.Image, shown: Image.Image | None) -> Image.Image:
    counted = None if shown is None else (np.asarray(shown) > 0).ravel()
    numbers = pixels.ravel() if counted is None else pixels.ravel()[counted]
    counts = np.bincount(numbers, minlength=len(entries))
    for channel, band in enumerate(original.split()):
        values = np.asarray(band).ravel()
        sums = np.bincount(numbers, values if counted is None else values[counted], len(entries))
        np.divide(sums, counts, out=entries[:, channel], where=counts > 0, casting="unsafe")
    made = Image.fromarray(pixels, "P")
    made.putpalette(entries.round().clip(0, 255).astype(np.uint8).tobytes())
    return made
