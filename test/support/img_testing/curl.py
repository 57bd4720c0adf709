"""curl, as people use it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from img_contract.testing import HANG_SECONDS

from img_testing.service import TOP

_MARK: Final = "\n--curl-wrote--\n"


def curl(*arguments: str, folder: Path = TOP) -> tuple[int, bytes]:
    """Run curl, and return the last status and the body."""
    command = ["curl", "-q", "-s", "-w", f"{_MARK}%{{http_code}}", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder, timeout=HANG_SECONDS)
    body, _, status = done.stdout.rpartition(_MARK.encode())
    assert done.returncode == 0, (done.returncode, done.stderr)
    return int(status), body
