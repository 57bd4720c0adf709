"""Several results of one upload, in one short text.

    variants = variant *( "," variant )                      16 at most
    variant  = [ name ":" ] size [ ":" fit [ ":" gravity ] ] [ "." format ]
    size     = N "w" / N "h" / N "x" N                       pixels
    name     = 1 to 40 letters, digits, "_" and "-", beginning with a letter

`320w,640w,1280w.webp,thumb:200x200:cover` asks for three widths, the last as WebP, and a square named thumb. A variant
without a name has its size for one, with the format if one is given: 320w, 1280w.webp. What a variant does not say is
as the other parameters say.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from img_contract.job.choices import Fit, Gravity
from img_contract.job.formats import RESULT_FORMATS, format_name
from img_contract.job.frozen import Frozen
from img_contract.job.values import MAX_SIDE, ResultFormat
from img_contract.messages import quoted

MAX_VARIANTS: Final = 16

_VARIANT: Final = re.compile(
    r"(?:(?P<name>[A-Za-z][A-Za-z0-9_-]{0,39}):)?"
    r"(?P<size>(?P<width>[0-9]{1,5})(?:w|x(?P<height>[0-9]{1,5}))|(?P<tall>[0-9]{1,5})h)"
    r"(?::(?P<fit>[a-z]+)(?::(?P<gravity>[a-z]+))?)?"
    r"(?:\.(?P<format>[a-z]+))?"
)
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}(?:\.[a-z]{1,8})?")
"""Names that a result can have."""


class Variant(Frozen):
    """One result of several. What is None is as the other parameters say."""

    name: str = Field(pattern=f"^{NAME.pattern}$", description="The last part of its address: /resize/<guid>/<name>.")
    width: int | None = Field(None, ge=1, le=MAX_SIDE, description="Pixels.")
    height: int | None = Field(None, ge=1, le=MAX_SIDE, description="Pixels.")
    fit: Fit | None = None
    gravity: Gravity | None = None
    format: ResultFormat | None = None


def _parsed(value: Any) -> Any:
    """Text to a list of what `Variant` takes; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    return [_one(text.strip()) for text in value.split(",")]


def _one(text: str) -> dict[str, Any]:
    match = _VARIANT.fullmatch(text)
    if match is None:
        raise PydanticCustomError(
            "variant", f"expected variants such as 320w, 1280w.webp or thumb:200x200:cover; found {quoted(text)}"
        )
    found = match.groupdict()
    suffix = f".{found['format']}" if found["format"] else ""
    given = {
        "name": found["name"] or found["size"] + suffix,
        "width": found["width"],
        "height": found["height"] or found["tall"],
        "fit": found["fit"],
        "gravity": found["gravity"],
        "format": found["format"] and format_name(found["format"]),
    }
    for side in ("width", "height"):
        if given[side] is not None and not 1 <= int(given[side]) <= MAX_SIDE:
            raise PydanticCustomError(
                "variant_side", f"expected sides from 1 to {MAX_SIDE} in a variant, found {quoted(text)}"
            )
    for key, choices in (("fit", Fit), ("gravity", Gravity), ("format", RESULT_FORMATS)):
        if given[key] is not None and given[key] not in list(choices):
            raise PydanticCustomError(
                "variant_choice",
                f"expected one of {', '.join(choices)} as the {key} of a variant, found {quoted(text)}",
            )
    return given


def _checked(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PydanticCustomError(
            "variant_twice", f"expected each variant once, found several named {', '.join(twice)}: give them names"
        )
    if len(variants) > MAX_VARIANTS:
        raise PydanticCustomError("variants_many", f"expected at most {MAX_VARIANTS} variants, found {len(variants)}")
    return variants


Variants = Annotated[
    tuple[Variant, ...],
    Field(min_length=1),
    BeforeValidator(_parsed, json_schema_input_type=str),
    AfterValidator(_checked),
]
"""Variants, also as the text that this module's docstring describes."""
