"""The steps of the pipeline, by what they do; `render/pipeline.py` has their order."""
