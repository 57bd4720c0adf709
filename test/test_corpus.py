"""A thousand real files, good and hostile, through the whole service: each ends as it should, and the next is served.

The corpus lies beside the repository where CI runs (../shared/corpus, with an index of what each file must lead to).
A clone without it skips this.
"""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from img_contract.testing import HANG_SECONDS
from img_testing.service import TOP
from PIL import Image

CORPUS = TOP.parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.long,
    pytest.mark.python_independent,
    pytest.mark.skipif(not (CORPUS / "INDEX.tsv").exists(), reason="the corpus is not beside the repository"),
]


def accepted(row: dict[str, str]) -> set[int]:
    """The statuses that the index's words allow; 200 is a picture, 422 a failed job with its reason."""
    expectation = row["service_expectation"]
    # The index is older than the engine's reading of icons, and says 415 for the sound ones.
    if expectation == "COMPLETED" or (row["path"].endswith(".ico") and row["expected"] == "valid"):
        return {200}
    if expectation == "415":
        return {415}
    if expectation == "FAILED clean (decoder lacks the feature)":
        return {200, 415, 422}  # the engine has readers of its own for some of them
    if expectation.startswith("FAILED clean ("):
        return {415, 422}
    if expectation.startswith("REJECT before"):
        return {413, 415, 422}
    return {200, 400, 413, 415, 422}  # whatever it leads to, no 5xx


def test_every_file_ends_as_the_index_says(service: Any) -> None:
    with (CORPUS / "INDEX.tsv").open(newline="") as index:
        rows = list(csv.DictReader(index, delimiter="\t"))
    assert len(rows) > 1000

    def lead(row: dict[str, str]) -> tuple[int, str]:
        data = Path(CORPUS, row["path"]).read_bytes()
        answer = session.post("/resize?wait=60", files={"file": data}, data={"width": 64, "format": "png"})
        if answer.status_code != 200:
            assert answer.headers["Content-Type"] == "application/problem+json", row["path"]
            return answer.status_code, answer.json()["detail"]
        with Image.open(io.BytesIO(answer.content)) as image:
            image.load()
            return 200, str(image.size)

    with (
        httpx2.Client(base_url=service.url, timeout=HANG_SECONDS, follow_redirects=True) as session,
        ThreadPoolExecutor(8) as clients,
    ):
        ends = list(clients.map(lead, rows))
    wrong = [
        f"{row['path']}: {row['service_expectation']} → {status} {detail}"
        for row, (status, detail) in zip(rows, ends, strict=True)
        if status not in accepted(row)
    ]
    assert wrong == [], "\n".join(wrong)
    assert all(detail for _, detail in ends)
