"""The kinds of value that parameters have: each is parsed from text once, and has one form in the message."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_extra_types.color import Color

from img_contract.job.formats import RESULT_FORMATS, WRITABLE, Format, format_name
from img_contract.job.frozen import Frozen
from img_contract.messages import quoted

MAX_SIDE: Final = 16384
"""The longest side of a result, in pixels. WebP holds one less; the engine refuses what a format cannot hold."""

MAX_PERCENT: Final = 1000

_PERCENT: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?%")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


def _side(value: Any) -> int | str:
    """Pixels as a number, or a percentage as its text."""
    text = str(value).strip()
    if _PERCENT.fullmatch(text):
        if not 0 < percentage(text) * 100 <= MAX_PERCENT:
            raise PydanticCustomError(
                "side_percent", f"expected a percentage over 0% and up to {MAX_PERCENT}%, found {text!r}"
            )
        return text
    if isinstance(value, bool) or not _WHOLE.fullmatch(text):
        raise PydanticCustomError(
            "side", f"expected pixels as a whole number, or a percentage like 50%; found {quoted(value)}"
        )
    pixels = int(text)
    if not 1 <= pixels <= MAX_SIDE:
        bound = "at least 1" if pixels < 1 else f"at most {MAX_SIDE}"
        raise PydanticCustomError("side_range", f"expected {bound}, found {value!r}")
    return pixels


Side = Annotated[
    int | str,
    BeforeValidator(_side),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SIDE},
                {"type": "string", "pattern": f"^{_PERCENT.pattern}$"},
            ],
            "examples": [800, "50%"],
        }
    ),
]
"""A side of a result: pixels (1 … 16384), or a percentage of the picture's own side as text: '50%'."""


def percentage(text: str) -> Fraction:
    """'33.3%' as an exact fraction: 333/1000."""
    return Fraction(Decimal(text.rstrip("%"))) / 100


def side_in_pixels(side: int | str, own: int) -> Fraction:
    """Return a `Side` in pixels, for a picture whose own side has so many; not rounded."""
    return own * percentage(side) if isinstance(side, str) else Fraction(side)


class Crop(Frozen):
    """A part of the upright picture, in its own pixels."""

    x: int = Field(ge=0, le=2**31, description="Pixels from the left.")
    y: int = Field(ge=0, le=2**31, description="Pixels from the top.")
    width: int = Field(ge=1, le=2**31)
    height: int = Field(ge=1, le=2**31)


def _crop(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts):  # noqa: PLR2004  x, y, w, h
        raise PydanticCustomError(
            "crop", f"expected x,y,width,height in whole pixels, such as 100,50,640,480; found {quoted(value)}"
        )
    x, y, width, height = map(int, parts)
    if not width or not height:
        raise PydanticCustomError("crop_empty", f"expected a crop of at least 1 × 1, found {width} × {height}")
    return {"x": x, "y": y, "width": width, "height": height}


CropText = Annotated[Crop, BeforeValidator(_crop, json_schema_input_type=str)]
"""A `Crop`, also as the text x,y,width,height."""


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
"""A CSS colour; #rrggbbaa in the message."""


def one_of(choices: tuple[str, ...], spelled: Callable[[str], str] = str) -> BeforeValidator:
    """Take only some values of a type, and name no others in the message; `spelled` brings a text to their form."""
    *others, last = (repr(str(choice)) for choice in choices)

    def checked(value: object) -> str:
        chosen = spelled(str(value))
        if chosen not in choices:
            raise PydanticCustomError("enum", "not a choice", {"expected": f"{', '.join(others)} or {last}"})
        return chosen

    return BeforeValidator(checked)


def enum_of(choices: tuple[str, ...]) -> WithJsonSchema:
    """Name only these values in the schema."""
    return WithJsonSchema({"type": "string", "enum": [str(choice) for choice in choices]})


WritableFormat = Annotated[Format, one_of(WRITABLE), enum_of(WRITABLE)]
"""A format that can be written."""

ResultFormat = Annotated[Format | Literal["auto"], one_of(RESULT_FORMATS, format_name), enum_of(RESULT_FORMATS)]
"""The format of a result: one that can be written, also by its suffix (jpg, tif) and in any case; or auto."""
