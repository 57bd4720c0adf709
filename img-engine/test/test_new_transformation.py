"""A transformation is added as CONTRIBUTING says, to a copy of the tree, and works: for every format, both ways."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from img_engine.render.jpeg_planes.turbojpeg import turbojpeg

pytestmark = pytest.mark.python_independent

TOP = Path(__file__).parents[2]

FIELD = '    invert: bool = Field(default=False, description="Invert the colours.")\n'
STEP = '''"""Inverting."""

from __future__ import annotations

from img_contract.job.resize import Resize
from PIL import ImageChops

from img_engine.render.picture import Picture


def invert(picture: Picture, options: Resize) -> Picture:
    """Invert the colours of L or RGB."""
    return picture.having(ImageChops.invert(picture.image)) if options.invert else picture
'''
IMPORT = "from img_engine.render.steps.inverting import invert\n"


def before(text: str, anchor: str) -> Callable[[Path], None]:
    """Put a text in front of the first place where the anchor is."""

    def edit(file: Path) -> None:
        content = file.read_text()
        assert anchor in content
        file.write_text(content.replace(anchor, text + anchor, 1))

    return edit


def both(*edits: Callable[[Path], None]) -> Callable[[Path], None]:
    def edit(file: Path) -> None:
        for one in edits:
            one(file)

    return edit


EDITS: dict[str, Callable[[Path], None]] = {
    "shared/img_contract/job/resize.py": before(FIELD, "    grayscale: bool"),
    "img-engine/img_engine/render/steps/": lambda folder: (folder / "inverting.py").write_text(STEP) and None,
    "img-engine/img_engine/render/pipeline.py": both(
        before(IMPORT, "from img_engine.render.steps.planning"), before("    invert,\n", "    grayscale,\n")
    ),
    "docs/parameters.md": before("| `invert` | true, false | false | Invert the colours. |\n", "| `grayscale` |"),
    "docs/design.md": before("`invert`, ", "`grayscale`, `blur`"),
}


def places() -> list[str]:
    """The files and folders that the row names with their path."""
    row = re.search(r"^\| a transformation \|.*$", (TOP / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert row is not None
    return re.findall(r"`((?:shared|img-engine|docs)/[^`]+)`", row[0])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the row names, edited there and nowhere else."""
    for folder in ("shared/img_contract", "img-engine/img_engine", "docs"):
        shutil.copytree(TOP / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for place in places():
        EDITS[place](tmp_path / place)
    return tmp_path


def python(tree: Path, *arguments: str) -> str:
    """What Python prints that imports the copy."""
    environment = os.environ | {"PYTHONPATH": f"{tree / 'shared'}:{tree / 'img-engine'}"}
    ended = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=tree, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_row_names_at_most_five_places() -> None:
    assert len(places()) <= 5
    assert set(places()) == set(EDITS)


def test_it_works_for_every_format_and_both_ways(tree: Path) -> None:
    assert python(tree, str(Path(__file__).with_name("inverted.py")), str(tree)) == ""


def test_the_published_schema_has_it(tree: Path) -> None:
    schema = json.loads(python(tree, "-m", "img_contract.job.schema"))
    assert schema["$defs"]["Resize"]["properties"]["invert"]["type"] == "boolean"


@pytest.mark.skipif(turbojpeg() is None, reason="libturbojpeg is not installed")
def test_a_fast_path_that_claims_to_honour_it_would_be_found_out(tree: Path) -> None:
    """So that the test above is known to be able to fail."""
    planes = tree / "img-engine/img_engine/render/jpeg_planes/planes.py"
    before('    "invert": _ANY,\n', '    "profile": (')(planes)
    found = python(tree, str(Path(__file__).with_name("inverted.py")), str(tree))
    assert [line.split(":")[0] for line in found.splitlines()] == ["jpeg to jpeg, invert=True"]
