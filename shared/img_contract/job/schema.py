"""Print the JSON Schema of a job: `python -m img_contract.job.schema > docs/job.schema.json`."""

from __future__ import annotations

import json

from img_contract.job.job import Job


def job_schema() -> str:
    """The schema of the message, as published."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Job.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(job_schema(), end="")
