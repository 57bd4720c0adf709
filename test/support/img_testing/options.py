"""Any value of any parameter, made from the published schema: a new parameter needs nothing here."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from img_contract.job.resize import Resize

_SCHEMA = Resize.model_json_schema()

_WRITTEN = {
    "crop": st.builds("{},{},{},{}".format, *[st.integers(0, 60)] * 2, *[st.integers(1, 300)] * 2),
    "variants": st.sampled_from(["30w", "60w,20h", "a:40x40:cover,b:50w.png", "80x30:fill,90w.jpg,30w.webp"]),
    "quality": st.integers(60, 100),  # below, two encodings of nearly the same differ by what they lose
}
"""Those with a syntax of their own, or a narrower use."""


def any_value(name: str) -> st.SearchStrategy[Any]:
    """Values of a parameter, its default among them."""
    return _WRITTEN[name] if name in _WRITTEN else _values(_SCHEMA["properties"][name], name)


def _values(declared: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    bounds = declared.get("minimum"), declared.get("maximum")
    match declared:
        case {"$ref": target}:
            found = _values(_SCHEMA["$defs"][target.rpartition("/")[2]], name)
        case {"enum": choices} | {"examples": choices}:
            found = st.sampled_from(choices)
        case {"const": only}:
            found = st.just(only)
        case {"anyOf": kinds}:
            found = st.one_of([_values(kind, name) for kind in kinds if kind != {"type": "null"}])
        case {"type": "boolean"}:
            found = st.booleans()
        case {"type": "integer"}:
            found = st.integers(*bounds)
        case {"type": "number"}:
            found = st.floats(*bounds, allow_nan=False, allow_infinity=False)
        case _:
            raise TypeError(f"no values are known for {name}: {declared}")
    return found
