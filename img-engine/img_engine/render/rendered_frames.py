"""What the pipeline has made of one result that was planned."""

from __future__ import annotations

from dataclasses import dataclass, field

from img_contract.job.outcome import ResultWarning, WarningCode
from PIL import Image

from img_engine.render.picture import Picture, ResultPlan


@dataclass
class RenderedFrames:
    """The frames of one result, one by one as they are rendered."""

    plan: ResultPlan
    frames: list[Image.Image] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    first: Picture | None = None
    """The first frame, as it left the pipeline."""
    warnings: dict[str, ResultWarning] = field(default_factory=dict)
    """By code: what one frame has lost, the others have, too."""

    def add(self, picture: Picture, milliseconds: float) -> None:
        """Append a frame."""
        self.first = self.first or picture
        self.frames.append(picture.image)
        self.milliseconds.append(milliseconds)
        for warning in picture.warnings:
            self.warnings.setdefault(warning.code, warning)

    def warn_of_damage(self, expected: int) -> None:
        """Add a warning that the upload had more frames, which are damaged."""
        detail = f"{len(self.frames)} of the upload's {expected} frames can be decoded; the others are damaged"
        self.warnings["frames"] = ResultWarning(code=WarningCode.FRAMES_DROPPED, detail=detail)
