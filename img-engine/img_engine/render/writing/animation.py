"""Frame times and loop counts, from every format to every format."""

from __future__ import annotations

from typing import Any, Final

from img_contract.job.formats import Format
from PIL import Image

from img_engine.render.picture import Upload
from img_engine.render.writing.avif_loops import read_loop_count

_BROWSERS_DEFAULT: Final = 100
"""Milliseconds for which browsers show a frame without a time."""


_SHORT: Final = 2**16 - 1
_LONG: Final = 2**31 - 1
_WEBP_TIME: Final = 2**24 - 1


def loop_count(upload: Upload) -> int:
    """Return how often the upload's animation is played; 0: forever."""
    if upload.format is Format.AVIF:
        upload.file.seek(0)
        return read_loop_count(upload.file.read())
    stored = upload.image.info.get("loop")
    if upload.format is Format.GIF:
        # A GIF stores how often it is repeated; one without that is played once.
        return 1 if stored is None else 0 if stored == 0 else int(stored) + 1
    return int(stored or 0)


def merged(frames: list[Image.Image], milliseconds: list[float]) -> tuple[list[Image.Image], list[float]]:
    """Merge equal neighbours into one frame with the time of both: encoders do so anyway, without reporting it."""
    kept: list[Image.Image] = []
    times: list[float] = []
    for frame, time in zip(frames, milliseconds, strict=True):
        if kept and frame == kept[-1]:
            times[-1] = (times[-1] or _BROWSERS_DEFAULT) + (time or _BROWSERS_DEFAULT)
        else:
            kept.append(frame)
            times.append(time)
    return kept, times


def animation_options(frames: list[Image.Image], milliseconds: list[float], times: int, to: Format) -> dict[str, Any]:
    """Return the save options for all frames in that format, played so many times."""
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    match to:
        case Format.GIF:
            options["duration"] = [10 * time for time in in_hundredths(milliseconds)]
            options["disposal"] = 1
            if times != 1:
                options["loop"] = repeats(times)
        case Format.PNG:
            options |= {"duration": [_as_fraction(time) for time in milliseconds], "blend": 0, "disposal": 0}
            options["loop"] = min(times, _LONG)
        case Format.WEBP:
            options |= {"duration": _rounded(_shown(milliseconds), _WEBP_TIME), "loop": min(times, _SHORT)}
        case _:
            options["duration"] = _rounded(_shown(milliseconds), _LONG)
    return options


def in_hundredths(milliseconds: list[float]) -> list[int]:
    """Return times in GIF's unit."""
    return _rounded([time / 10 for time in milliseconds], _SHORT)


def repeats(times: int) -> int:
    """Return how often a GIF is repeated that is played so many times; 0: forever."""
    return min(max(0, times - 1), _SHORT)


def _shown(milliseconds: list[float]) -> list[float]:
    return [time or _BROWSERS_DEFAULT for time in milliseconds]


def _as_fraction(milliseconds: float) -> float:
    """Round to a time that a PNG can store: seconds as a fraction of two numbers of 16 bits."""
    unit = next((unit for unit in (1, 10, 100) if milliseconds / unit <= _SHORT), 1000)
    return milliseconds if unit == 1 else float(min(round(milliseconds / unit), _SHORT) * unit)


def _rounded(times: list[float], most: int) -> list[int]:
    """Round times to whole numbers such that the end of every frame is off by half a unit at most."""
    rounded, end, rounded_end = [], 0.0, 0
    for time in times:
        end += time
        rounded.append(min(max(0, round(end) - rounded_end), most))
        rounded_end = round(end)
    return rounded
