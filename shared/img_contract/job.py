"""The job: what a client asks for, as one frozen model.

From this declaration come the validation of a form, the Swagger parameters, the JSON message on the doorbell,
`job.json` on the volume, and the JSON Schema published in docs/job.schema.json.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_extra_types.color import Color

from .formats import Format, OutputFormat

MAX_SIDE: Final = 16384
"""The longest side of a result, in pixels. WebP holds one less; the engine refuses what a format cannot hold."""

JOB_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Fit(StrEnum):
    """How a picture is brought to `width` × `height`. The names are sharp's."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    COVER = "cover"
    CONTAIN = "contain"
    FILL = "fill"


class Gravity(StrEnum):
    """Which part of the picture `cover` keeps, and where `contain` puts the picture."""

    CENTER = "center"
    NORTH = "north"
    NORTHEAST = "northeast"
    EAST = "east"
    SOUTHEAST = "southeast"
    SOUTH = "south"
    SOUTHWEST = "southwest"
    WEST = "west"
    NORTHWEST = "northwest"


class Metadata(StrEnum):
    """What becomes of EXIF (GPS and all) and XMP."""

    STRIP = "strip"
    KEEP = "keep"


def _hexadecimal(value: str) -> str:
    """Bring a CSS colour to #rrggbbaa, so that whoever reads the message needs no table of names."""
    try:
        colour = Color(value if value.startswith("#") or not re.fullmatch(r"[0-9a-fA-F]{3,8}", value) else f"#{value}")
    except PydanticCustomError:
        # The library quotes the input in its message; ours has one shape everywhere.
        raise PydanticCustomError("colour", "not a CSS colour") from None
    digits = colour.as_hex(format="long").removeprefix("#")
    return "#" + digits.ljust(8, "f")


Colour = Annotated[
    str,
    Field(max_length=64, examples=["white", "#ff8800", "#00000080", "rgb(255 136 0 / 50%)"]),
    AfterValidator(_hexadecimal),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resize(_Frozen):
    """What is to be done to the picture. At least one of width and height must be given."""

    width: int | None = Field(
        None, ge=1, le=MAX_SIDE, description="Width of the result in pixels. Without it, it follows from the height."
    )
    height: int | None = Field(
        None, ge=1, le=MAX_SIDE, description="Height of the result in pixels. Without it, it follows from the width."
    )
    fit: Fit = Field(
        Fit.INSIDE,
        description="How the picture meets width × height when both are given. inside: as large as fits within, whole "
        "picture. outside: as small as covers both, whole picture. cover: exactly that size, the overhang is cut off. "
        "contain: exactly that size, the rest is filled with the background. fill: exactly that size, stretched.",
    )
    gravity: Gravity = Field(Gravity.CENTER, description="Which part cover keeps, and where contain puts the picture.")
    background: Colour | None = Field(
        None,
        description="CSS colour behind transparent parts and around a contained picture: a name, #rgb, #rrggbb, "
        "#rrggbbaa (the # may be left out) or rgb(). Without it: transparent where the format holds that, else white.",
    )
    enlarge: bool = Field(
        default=False,
        description="Whether a picture that is smaller than asked is enlarged. If not, it keeps its size.",
    )
    format: OutputFormat | None = Field(
        None,
        description="Format of the result. Without it, the format of the upload; jpeg for heic, png for tiff and bmp.",
    )
    quality: int | None = Field(
        None, ge=1, le=100, description="Quality of a lossy result. Without it: jpeg 80, webp 80, avif 60."
    )
    metadata: Metadata = Field(
        Metadata.STRIP,
        description="strip: EXIF (GPS position included) and XMP are removed. keep: they are carried over.",
    )

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if self.width is None and self.height is None:
            raise PydanticCustomError("size_missing", "expected width, height or both; found neither")
        return self


class Source(_Frozen):
    """The upload, as the API saw it."""

    filename: str | None = Field(None, max_length=255, description="The name the client gave; never used as a path.")
    media_type: str = Field(description="Media type by the first bytes of the upload, e.g. image/jpeg.")
    format: Format = Field(description="Format by the first bytes of the upload.")
    bytes: int = Field(ge=0, description="Size of the upload in bytes.")


class Job(_Frozen):
    """One picture to resize: the message on the doorbell, and `job.json` on the volume."""

    version: Literal[1] = 1
    id: str = Field(pattern=f"^{JOB_ID.pattern}$", description="Random UUID (version 4), lower case.")
    submitted_at: AwareDatetime = Field(description="When the upload was complete, UTC.")
    source: Source
    resize: Resize


def new_job_id() -> str:
    """A fresh id: a random UUID. Who knows it may read the result, so it must not be guessable."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)
