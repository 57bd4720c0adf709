"""The steps of the pipeline: pure functions from a picture and what was asked to a picture."""

from .colour import to_srgb
from .decoding import check_memory, decode, shrink_on_load
from .framing import crop, flatten, pad
from .scaling import scale, turn_upright

__all__ = ["check_memory", "crop", "decode", "flatten", "pad", "scale", "shrink_on_load", "to_srgb", "turn_upright"]
