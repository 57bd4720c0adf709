"""Renders every picture below a folder, and prints where libvips does otherwise: make compare FOLDER=…

The judge is `compare_by_pyvips.py`, run by bench/.venv's Python, as pyvips is no part of the product.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from img_contract.config import Config
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from img_contract.job.resize import Resize
from img_engine.errors import EngineError
from img_engine.process.pool import Children
from img_engine.render.task import PictureLimits, Refusal, Task

TOP: Final = Path(__file__).parents[1]
JUDGE: Final = TOP / "bench" / ".venv" / "bin" / "python"
WIDTH: Final = 200
OURS: Final = Resize(width=WIDTH, format=Format.PNG, lossless=True)


def main(folder: Path) -> int:
    """Compare. Returns the exit status: 0 also where pictures differ."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as work:
        found = rendered(paths, Path(work))
        index = Path(work) / "index.json"
        index.write_text(json.dumps({"width": WIDTH, "pictures": found}))
        return subprocess.run(
            [JUDGE, Path(__file__).with_name("compare_by_pyvips.py"), index, folder], check=False
        ).returncode


def rendered(paths: list[Path], work: Path) -> list[dict[str, str]]:
    """Render each picture in a child, as the engine does; a file that is none that is accepted is left out."""
    config = Config()
    limits = PictureLimits(
        pixels=config.limits.pixels,
        frames=config.limits.frames,
        memory=config.engine.child_bytes,
        animation_pixels=config.limits.animation_pixels,
    )
    children = Children(1, config.engine.child_bytes, 60)
    children.wait_ready()
    found = []
    try:
        for number, path in enumerate(paths):
            with path.open("rb") as file:
                kind = sniff(file.read(SIGNATURE_BYTES))
            if kind is None:
                continue
            one = {"path": str(path)}
            try:
                result = children.render(Task(path, kind, OURS, work / str(number), limits), lambda _: None)
            except EngineError as error:
                one["refused"] = repr(error)
            else:
                if isinstance(result, Refusal):
                    one["refused"] = f"{result.failure.code}: {result.failure.detail}"
                else:
                    one["ours"] = str(result.files[0].path)
                    one["warnings"] = ", ".join(str(warning.code) for warning in result.warnings)
            found.append(one)
    finally:
        children.stop()
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("expected a folder: make compare FOLDER=…")
    sys.exit(main(Path(sys.argv[1])))
