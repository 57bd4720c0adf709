"""The steps of the pipeline, by what they do; `img_engine.pipeline` has their order."""

from img_engine.render.steps.colour import to_srgb
from img_engine.render.steps.framing import crop, flatten, pad
from img_engine.render.steps.look import blur, grayscale, sharpen, watermark
from img_engine.render.steps.planning import check_memory, plan_results, shrink_on_load
from img_engine.render.steps.scaling import scale, turn_upright
from img_engine.render.steps.selecting import crop_source, trim, turn

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
