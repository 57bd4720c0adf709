"""Where the results of a picture go, and whether they are there already."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from img_contract.job.formats import AUTO, MEDIA_TYPES, SUFFIXES, WRITABLE, Format, format_name
from img_contract.job.resize import Resize

_BY_MEDIA_TYPE: Final = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}


@dataclass(frozen=True)
class Target:
    """Where the results of one picture go."""

    folder: Path
    source: Path
    format: Format | None
    """The picture's, by its first bytes."""
    exact: Path | None = None
    """The one file that was named for the result."""

    def path(self, kind: Format | str, variant: str | None = None) -> Path:
        """Return the path of a result of a format, or of a media type that may be unknown here.

        It depends on the source alone, whatever else is or will be in its folder: a converted picture keeps its suffix,
        and has another one after it, as in IMG_1.heic.jpg and IMG_1-320w.heic.jpg.
        """
        if self.exact is not None:
            return self.exact
        suffix = "." + (SUFFIXES[kind] if isinstance(kind, Format) and kind in SUFFIXES else str(kind))
        stem, own = self.source.stem, self.source.suffix
        if variant is not None:
            stem += "-" + variant.removesuffix(f".{kind}").removesuffix(suffix)
        if kind == self.format and format_name(own[1:]) == kind:
            suffix = ""  # .JPG and .jpeg stay as they are
        return self.folder / (stem + own + suffix)

    def path_of(self, media_type: str, variant: str | None = None) -> Path:
        """Return the path of a result that was made."""
        return self.path(_BY_MEDIA_TYPE.get(media_type, media_type.rpartition("/")[2]), variant)

    def candidates(self, resize: Resize) -> list[list[Path]]:
        """Return, for each result that is asked for, the paths that it may get: one if its format is known."""
        asked: list[tuple[str | None, str | None]] = [(None, resize.format)]
        if resize.variants:
            asked = [(one.name, one.format or resize.format) for one in resize.variants]
        return [[self.path(kind, name) for kind in self._formats(wanted)] for name, wanted in asked]

    def current(self, resize: Resize, when: float) -> bool:
        """Return whether all results are there, none of them older than a time in seconds."""
        return all(any(changed(path) >= when for path in paths) for paths in self.candidates(resize))

    def _formats(self, asked: str | None) -> tuple[Format, ...]:
        if asked is not None and asked != AUTO:
            return (Format(asked),)
        if asked is None and self.format in WRITABLE:
            return (self.format,)
        return WRITABLE  # the engine picks one


def changed(path: Path) -> float:
    """Return when a file was changed, in seconds; what is no file, or not there any more, before all others."""
    try:
        found = path.stat()
    except OSError:
        return float("-inf")
    return found.st_mtime if stat.S_ISREG(found.st_mode) else float("-inf")
