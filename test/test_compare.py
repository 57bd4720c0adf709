"""`make compare`, over two pictures and a file that is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from img_testing.samples import encoded, photo

COMPARE = Path(__file__).with_name("compare.py")
JUDGE = COMPARE.parents[1] / "bench" / ".venv" / "bin" / "python"

pytestmark = pytest.mark.python_independent


@pytest.mark.skipif(not JUDGE.exists(), reason="bench/.venv is not made")
def test_differences_are_printed_by_kind(tmp_path: Path) -> None:
    (tmp_path / "sound.png").write_bytes(encoded(photo((300, 200)), "PNG"))
    (tmp_path / "cut.jpg").write_bytes(encoded(photo((300, 200)), "JPEG")[:100])
    (tmp_path / "notes.txt").write_text("no picture")
    done = subprocess.run([sys.executable, COMPARE, tmp_path], capture_output=True, text=True, check=True)
    assert "agree: 2" in done.stdout
    assert "notes" not in done.stdout


def test_a_folder_is_needed() -> None:
    done = subprocess.run([sys.executable, COMPARE], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected a folder" in done.stderr
