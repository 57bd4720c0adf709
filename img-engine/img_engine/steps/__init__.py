"""The steps of the pipeline, by what they do; `img_engine.pipeline` has their order."""

from .colour import to_srgb
from .framing import crop, flatten, pad
from .look import blur, grayscale, sharpen, watermark
from .planning import check_memory, plan_results, shrink_on_load
from .scaling import scale, turn_upright
from .selecting import crop_source, trim, turn

__all__ = [
    "blur",
    "check_memory",
    "crop",
    "crop_source",
    "flatten",
    "grayscale",
    "pad",
    "plan_results",
    "scale",
    "sharpen",
    "shrink_on_load",
    "to_srgb",
    "trim",
    "turn",
    "turn_upright",
    "watermark",
]
