"""How long each frame is shown and how often an animation is played, from each format to each."""

from __future__ import annotations

from typing import Any, Final

from img_contract.formats import Format, OutputFormat
from PIL import Image

from .picture import Upload

_BROWSERS_DEFAULT: Final = 100
"""Milliseconds that browsers show a frame for which a GIF says nothing."""


def plays(upload: Upload) -> int:
    """How often the upload's animation is played; 0: without end. AVIF files do not tell Pillow: without end."""
    said = upload.image.info.get("loop")
    if upload.format is Format.GIF:
        # What a GIF says is how often it is played again; one that says nothing is played once.
        return 1 if said is None else 0 if said == 0 else int(said) + 1
    return int(said or 0)


def animation_options(
    frames: list[Image.Image], milliseconds: list[float], times: int, to: OutputFormat
) -> dict[str, Any]:
    """Save options for all frames in that format, played so many times."""
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    match to:
        case OutputFormat.GIF:
            options["duration"] = [10 * hundredths for hundredths in _rounded([time / 10 for time in milliseconds])]
            # Without it, what is transparent in a frame would show the one before.
            options["disposal"] = 2 if any("transparency" in frame.info for frame in frames) else 1
            if times != 1:
                options["loop"] = max(0, times - 1)
        case OutputFormat.PNG:
            options |= {"duration": milliseconds, "loop": times, "blend": 0, "disposal": 0}
        case _:
            shown = [time or _BROWSERS_DEFAULT for time in milliseconds]
            options |= {"duration": _rounded(shown), "loop": times}
    return options


def _rounded(times: list[float]) -> list[int]:
    """Whole numbers, so that the end of every frame is off by half a unit at most, however many there are."""
    rounded, end, said = [], 0.0, 0
    for time in times:
        end += time
        rounded.append(max(0, round(end) - said))
        said += rounded[-1]
    return rounded
