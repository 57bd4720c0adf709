"""The job model: what it takes, what it refuses, and that what is published is what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from img_contract.job.formats import Format, sniff
from img_contract.job.job import Job
from img_contract.job.resize import Resize
from img_contract.job.schema import job_schema
from img_contract.job.values import MAX_SIDE
from img_contract.messages import LONGEST_SHOWN, describe_fault, quoted
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
        ({}, "expected width, height or variants; found none of them"),
        ({"width": "0"}, "expected at least 1, found '0'"),
        ({"width": str(MAX_SIDE + 1)}, "expected at most 16384, found '16385'"),
        ({"width": "-5"}, "expected at least 1, found '-5'"),
        ({"width": "wide"}, "expected pixels as a whole number, or a percentage like 50%; found 'wide'"),
        ({"width": "1.5"}, "expected pixels as a whole number, or a percentage like 50%; found '1.5'"),
        ({"width": "1_0"}, "expected pixels as a whole number, or a percentage like 50%; found '1_0'"),
        ({"height": "0%"}, "expected a percentage over 0% and up to 1000%, found '0%'"),
        ({"height": "1001%"}, "expected a percentage over 0% and up to 1000%, found '1001%'"),
        ({"width": "9000", "dpr": "2"}, "expected sides of at most 16384 pixels after they are multiplied by dpr"),
        ({"width": "1", "dpr": "nan"}, "expected a finite number, found 'nan'"),
        ({"width": "1", "crop": "1,2,3"}, "expected x,y,width,height in whole pixels, such as 100,50,640,480"),
        ({"width": "1", "crop": "1,2,0,3"}, "expected a crop of at least 1 × 1, found 0 × 3"),
        ({"width": "1", "rotate": "45"}, "expected 0, 90, 180 or 270, found 45"),
        ({"width": "1", "format": "exe"}, "expected 'jpeg', 'png', 'webp', 'gif', 'avif', 'tiff' or 'auto', found"),
        ({"width": "1", "format": "heic"}, "expected 'jpeg', 'png', 'webp', 'gif', 'avif', 'tiff' or 'auto', found"),
        (
            {"width": "1", "watermark_gravity": "smart"},
            "expected 'center', 'north', 'northeast', 'east', 'southeast', 'south', 'southwest', 'west' or 'northwest'",
        ),
        ({"width": "9" * 5000}, "expected pixels as a whole number, or a percentage like 50%; found '999"),
        ({"quality": "9" * 5000, "width": "1"}, "expected a whole number of fewer digits"),
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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("wide", "'wide'"),
        (1.5, "1.5"),
        ("a" * 80, f"'{'a' * 80}'"),
        ("a" * 81, f"'{'a' * 80}'… (81 characters)"),
        ("\0" * 81, rf"'{chr(92)}x00"),
        ([1] * 100, f"{str([1] * 27)[:80]}… (300 characters)"),
    ],
)
def test_a_value_is_quoted_in_one_way_and_a_long_one_cut(value: object, shown: str) -> None:
    assert quoted(value).startswith(shown)
    assert len(quoted(value)) <= 4 * LONGEST_SHOWN + len("''… (81 characters)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("320w", {"320w": {"width": 320}}),
        ("200h", {"200h": {"height": 200}}),
        ("320w, 640w", {"320w": {"width": 320}, "640w": {"width": 640}}),
        ("1280w.webp", {"1280w.webp": {"width": 1280, "format": "webp"}}),
        ("320w.jpg", {"320w.jpg": {"width": 320, "format": "jpeg"}}),
        ("thumb:200x100:cover", {"thumb": {"width": 200, "height": 100, "fit": "cover"}}),
        (
            "Hero_1-a:20x10:cover:smart.avif",
            {"Hero_1-a": {"width": 20, "height": 10, "fit": "cover", "gravity": "smart", "format": "avif"}},
        ),
    ],
)
def test_variants_are_read_by_their_grammar(text: str, expected: dict[str, Any]) -> None:
    variants = Resize.model_validate({"variants": text}).variants
    assert variants is not None
    assert {one.name: one.model_dump(exclude_none=True, exclude={"name"}) for one in variants} == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (",", "expected variants such as 320w, 1280w.webp or thumb:200x200:cover; found ''"),
        ("320", "expected variants such as"),
        ("../etc:320w", "expected variants such as"),
        ("a/b:320w", "expected variants such as"),
        ("1st:320w", "expected variants such as"),
        ("0w", "expected sides from 1 to 16384 in a variant, found '0w'"),
        ("16385w", "expected sides from 1 to 16384 in a variant"),
        ("t:2x2:stretch", "expected one of inside, outside, cover, contain, fill as the fit of a variant"),
        ("2x2:cover:up", "expected one of center, north"),
        ("2w.exe", "expected one of jpeg, png"),
        ("2w,2w", "expected each variant once, found several named 2w"),
        ("a:2w,a:3w", "expected each variant once, found several named a"),
        (",".join(f"{side}w" for side in range(1, 18)), "expected at most 16 variants, found 17"),
        ("9" * 5000, "expected variants such as"),
    ],
)
def test_a_refused_variant_says_why(text: str, fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Resize.model_validate({"variants": text})
    assert [error["loc"] for error in raised.value.errors()] == [("variants",)]
    assert describe_fault(dict(raised.value.errors()[0])).startswith(fault)


def test_what_is_parsed_from_text_comes_through_the_message_unchanged() -> None:
    ask = Resize.model_validate({"width": "33.3%", "crop": "1,2,3,4", "variants": "a:5w.webp,20x10:cover:smart"})
    assert Resize.model_validate_json(ask.model_dump_json()) == ask


def test_a_format_may_be_written_as_a_suffix() -> None:
    assert [Resize.model_validate({"width": 1, "format": name}).format for name in ("jpg", "JPEG", "tif")] == [
        "jpeg",
        "jpeg",
        "tiff",
    ]


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
        (b"\0\0\1\0\2\0\x10\x10\0\0\1\0\x20\0", Format.ICO),
        (b"\0\0\2\0\2\0\x10\x10\0\0\1\0\x20\0", None),
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
