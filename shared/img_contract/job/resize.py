"""The options of a job as one frozen model: every parameter is a field of it, and is declared nowhere else.

From this declaration come the validation of a form, the Swagger parameters, and their part of the JSON message.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from img_contract.job.choices import Fit, Gravity, Metadata, Placeholder, Profile, Subsampling, Turn
from img_contract.job.frozen import Frozen
from img_contract.job.values import MAX_SIDE, Colour, CropText, ResultFormat, Side, enum_of, one_of
from img_contract.job.variants import Variants

_Turn = Annotated[
    Turn, BeforeValidator(lambda value: int(value) if re.fullmatch("[0-9]{1,3}", str(value).strip()) else value)
]


_PLACES = tuple(place for place in Gravity if place is not Gravity.SMART)
_Place = Annotated[Gravity, one_of(_PLACES), enum_of(_PLACES)]


class Resize(Frozen):
    """The options of a job. At least one of width, height and variants must be given."""

    width: Side | None = Field(
        None,
        description="Width of the result in pixels, 1 to 16384, or in percent of the picture's: 50%. Without it, it "
        "follows from the height.",
    )
    height: Side | None = Field(
        None,
        description="Height of the result in pixels, 1 to 16384, or in percent of the picture's: 50%. Without it, it "
        "follows from the width.",
    )
    fit: Fit = Field(
        Fit.INSIDE,
        description="How the picture meets width × height when both are given. inside: as large as fits within, whole "
        "picture. outside: as small as covers both, whole picture. cover: exactly that size, the overhang is cut off. "
        "contain: exactly that size, the rest is filled with the background. fill: exactly that size, stretched.",
    )
    gravity: Gravity = Field(
        Gravity.CENTER,
        description="Which part cover keeps, and where contain puts the picture. smart: the part that draws the eye.",
    )
    background: Colour | None = Field(
        None,
        description="CSS colour behind transparent parts and around a contained picture: a name, #rgb, #rrggbb, "
        "#rrggbbaa (the # may be left out) or rgb(). Without it: transparent where the format holds that, else white.",
    )
    enlarge: bool = Field(
        default=False,
        description="Whether a picture that is smaller than asked is enlarged. If not, it keeps its size.",
    )
    dpr: float = Field(
        1.0,
        ge=0.1,
        le=10,
        allow_inf_nan=False,
        description="Device pixel ratio: width and height are multiplied by it.",
    )
    crop: CropText | None = Field(
        None,
        description="Part of the upright picture to use, before anything else is done to it: x,y,width,height in its "
        "own pixels, e.g. 100,50,640,480.",
    )
    trim: int | None = Field(
        None,
        ge=0,
        le=255,
        description="Cut off a border of one colour, that of the top left pixel; how far a channel may differ from it.",
    )
    rotate: _Turn = Field(
        Turn.NONE, description="Turn clockwise by 0, 90, 180 or 270 degrees, after the EXIF orientation was applied."
    )
    flip: bool = Field(default=False, description="Mirror top to bottom, after rotating.")
    flop: bool = Field(default=False, description="Mirror left to right, after rotating.")
    grayscale: bool = Field(default=False, description="Drop the colours.")
    blur: float | None = Field(
        None, ge=0.3, le=250, allow_inf_nan=False, description="Blur the result: sigma of a Gaussian, in its pixels."
    )
    sharpen: float | None = Field(
        None,
        ge=0.3,
        le=10,
        allow_inf_nan=False,
        description="Sharpen the result with an unsharp mask: sigma of its Gaussian, in pixels. 0.5 to 1 suits photos.",
    )
    format: ResultFormat | None = Field(
        None,
        description="Format of the result. Without it, the format of the upload; jpeg for heic, png for bmp and ico. "
        "auto: what suits the picture, among what the request's Accept header names.",
    )
    quality: int | None = Field(
        None, ge=1, le=100, description="Quality of a lossy result. Without it: jpeg 80, webp 80, avif 60."
    )
    lossless: bool = Field(default=False, description="Lose nothing: webp. png, gif and tiff never do.")
    progressive: bool = Field(default=False, description="jpeg: coarse first, then finer.")
    effort: int | None = Field(
        None,
        ge=1,
        le=10,
        description="How hard to try for a small file: 1 is fastest, 10 smallest. Without it: a good balance.",
    )
    subsampling: Subsampling | None = Field(
        None, description="Chroma subsampling of jpeg and avif. Without it: 4:2:0. 4:4:4 keeps red lettering sharp."
    )
    palette: bool = Field(default=False, description="png: at most 256 colours, for a much smaller file.")
    max_bytes: int | None = Field(
        None,
        ge=1,
        le=2_000_000_000,
        description="Size that the file is not to pass: the best quality that fits is searched for. If none fits, the "
        "smallest is delivered, with a warning.",
    )
    metadata: Metadata = Field(
        Metadata.STRIP,
        description="strip: EXIF (GPS position included) and XMP are removed. copyright: only the names of artist and "
        "holder of the rights stay. keep: EXIF and XMP are carried over.",
    )
    profile: Profile = Field(
        Profile.SRGB,
        description="srgb: colours are converted to sRGB. p3: to Display P3, with its profile, so that colours beyond "
        "sRGB stay. keep: an embedded colour profile is kept.",
    )
    watermark_gravity: _Place = Field(Gravity.SOUTHEAST, description="Where the watermark lies.")
    watermark_scale: float = Field(
        0.25,
        ge=0.01,
        le=1,
        allow_inf_nan=False,
        description="Size of the watermark: this share of the result, at most.",
    )
    watermark_opacity: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, description="Opacity of the watermark, from 0 to 1."
    )
    placeholder: Placeholder | None = Field(
        None, description="Add a placeholder to the status, to be shown while the picture loads."
    )
    variants: Variants | None = Field(
        None,
        description="Several results from one upload, e.g. 320w,640w,1280w.webp,thumb:200x200:cover. Each is "
        "[name:]size[:fit[:gravity]][.format] with a size of 320w, 200h or 200x200, and is fetched at "
        "/resize/{guid}/{name}.",
    )

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if self.width is None and self.height is None and self.variants is None:
            raise PydanticCustomError("size_missing", "expected width, height or variants; found none of them")
        return self

    @model_validator(mode="after")
    def _fits_with_dpr(self) -> Self:
        sides = [side for side in (self.width, self.height) if isinstance(side, int)]
        sides += [side for variant in self.variants or () for side in (variant.width, variant.height) if side]
        if sides and max(sides) * self.dpr > MAX_SIDE:
            raise PydanticCustomError(
                "dpr_side",
                f"expected sides of at most {MAX_SIDE} pixels after they are multiplied by dpr, "
                f"found {max(sides)} × {self.dpr:g}",
            )
        return self
