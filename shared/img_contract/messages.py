"""One shape of message for every value that was refused: expected what, found what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LONGEST_SHOWN: Final = 80
"""The longest value that is shown, in characters."""

# Pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/) that a form, a message or a
# configuration can meet, in words for a person. Pydantic's own words serve for all others.
_EXPECTATIONS: Final[dict[str, str]] = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "colour": "a CSS colour such as white, #ff8800 or #00000080",
    "extra_forbidden": "no such key",
    "missing": "a value",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "enum": "{expected}",
    "literal_error": "{expected}",
}


def describe_fault(details: Mapping[str, Any]) -> str:
    """One fault of a pydantic ValidationError, as `expected …, found …`."""
    message = str(details["msg"])
    template = _EXPECTATIONS.get(details["type"])
    if template is None:
        return message.removeprefix("Value error, ")
    found = "nothing" if details["type"] == "missing" else quoted(details["input"])
    return f"expected {template.format(**details.get('ctx', {}))}, found {found}"


def quoted(value: object) -> str:
    """Return a value as a message shows it; of a long one the beginning, and how long it is."""
    text = value if isinstance(value, str) else repr(value)
    shown = text[:LONGEST_SHOWN]
    return (repr(shown) if text is value else shown) + ("" if shown == text else f"… ({len(text)} characters)")
