"""The job model: what it takes, what it refuses, and that what is published is what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from img_contract.faults import describe_fault
from img_contract.formats import Format, sniff
from img_contract.job import MAX_SIDE, Job, Resize
from img_contract.schema import job_schema
from pydantic import ValidationError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("white", "#ffffffff"),
        ("#f80", "#ff8800ff"),
        ("f80", "#ff8800ff"),
        ("FF8800", "#ff8800ff"),
        ("#ff880080", "#ff880080"),
        ("rgb(255, 136, 0)", "#ff8800ff"),
        ("transparent", "#00000000"),
    ],
)
def test_every_way_to_write_a_colour_becomes_one(given: str, expected: str) -> None:
    assert Resize(width=1, background=given).background == expected


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({}, "expected width, height or both; found neither"),
        ({"width": "0"}, "expected at least 1, found '0'"),
        ({"width": str(MAX_SIDE + 1)}, "expected at most 16384, found '16385'"),
        ({"width": "-5"}, "expected at least 1, found '-5'"),
        ({"width": "wide"}, "expected a whole number, found 'wide'"),
        ({"width": "1.5"}, "expected a whole number, found '1.5'"),
        ({"width": "9" * 5000}, "expected a whole number of fewer digits"),
        (
            {"width": "1", "fit": "stretch"},
            "expected 'inside', 'outside', 'cover', 'contain' or 'fill', found 'stretch'",
        ),
        ({"width": "1", "background": "blurple"}, "expected a CSS colour such as white"),
        ({"width": "1", "quality": "101"}, "expected at most 100, found '101'"),
        ({"width": "1", "enlarge": "maybe"}, "expected true or false, found 'maybe'"),
        ({"width": "1", "colour": "red"}, "expected no such key, found 'red'"),
    ],
)
def test_a_refused_parameter_says_what_was_expected_and_found(parameters: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Resize.model_validate(parameters)
    assert describe_fault(dict(raised.value.errors()[0])).startswith(fault)


def test_the_published_schema_is_the_models() -> None:
    """After a change of the model: make schema."""
    assert (DOCS / "job.schema.json").read_text() == job_schema()


def test_the_message_in_the_docs_is_a_job() -> None:
    page = (DOCS / "message-format.md").read_text()
    example = page.split("```json\n", 1)[1].split("```", 1)[0]
    assert Job.model_validate_json(example).version == 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", Format.JPEG),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Format.PNG),
        (b"GIF89a\1\0", Format.GIF),
        (b"RIFF\x24\0\0\0WEBPVP8 ", Format.WEBP),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", Format.AVIF),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", Format.AVIF),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Format.HEIC),
        (b"II*\0\x08\0\0\0", Format.TIFF),
        (b"MM\0*\0\0\0\x08", Format.TIFF),
        (b"II+\0\x08\0\0\0", Format.TIFF),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Format.BMP),
        (b"", None),
        (b"\xff\xd8", None),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"<svg xmlns=", None),
        (b"%PDF-1.7", None),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", None),
        (b"BMW is a car maker of some renown in Bavaria", None),
    ],
)
def test_a_format_is_told_by_its_first_bytes(head: bytes, expected: Format | None) -> None:
    assert sniff(head) is expected
