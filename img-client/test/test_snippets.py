"""The programs of docs/clients.md, as they are written there. What is not installed is left out."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from img_contract.testing import HANG_SECONDS
from img_testing.service import TOP, Service
from PIL import Image

PAGE = (TOP / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAMS = {
    language: re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for language in ("python", "js", "php", "go")
}
NAMES = {"python": "program.py", "js": "program.mjs", "php": "program.php", "go": "program.go"}
COMMANDS = {"python": [sys.executable], "js": ["node"], "php": ["php"], "go": ["go", "run"]}


def run(language: str, number: int, service: Service, folder: Path) -> str:
    if shutil.which(COMMANDS[language][0]) is None:
        pytest.skip(f"{COMMANDS[language][0]} is not installed")
    (folder / "photo.jpg").write_bytes((TOP / "photo.jpg").read_bytes())
    (folder / "no-picture.txt").write_text("this is no picture")
    (folder / NAMES[language]).write_text(PROGRAMS[language][number], encoding="utf-8")
    done = subprocess.run(
        [*COMMANDS[language], NAMES[language]],
        cwd=folder,
        env=os.environ | {"IMG_SERVER": service.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def size(path: Path) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return image.format, image.size


@pytest.mark.python_independent
@pytest.mark.parametrize("language", ["js", "php", "go"])
def test_a_program_resizes_a_picture_and_says_why_another_is_none(
    language: str, service: Service, tmp_path: Path
) -> None:
    assert len(PROGRAMS[language]) == 1
    told = run(language, 0, service, tmp_path)
    assert told.startswith("not_a_picture: ")
    assert size(tmp_path / "small.webp") == ("WEBP", (800, 533))


def test_the_programs_in_python_do_what_they_say(service: Service, tmp_path: Path) -> None:
    assert len(PROGRAMS["python"]) == 3
    assert run("python", 0, service, tmp_path).startswith("picture_unsupported ")
    assert size(tmp_path / "small.webp") == ("WEBP", (800, 533))
    assert [size(tmp_path / f"photo-{width}w.jpg")[1][0] for width in (320, 640)] == [320, 640]
    listed = run("python", 1, service, tmp_path)
    assert " done in the last hour\n" in listed
    assert listed.endswith(" picture_unsupported\n")
    assert run("python", 2, service, tmp_path) == ""
    assert size(tmp_path / "photo-tiny.webp") == ("WEBP", (100, 67))
