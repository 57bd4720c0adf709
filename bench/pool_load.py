"""The engine's children without the service: what they do when nothing else is asked of the machine.

pool_load.py CHILDREN PICTURE FOLDER. Speaks the lines of client.py; CPU seconds are told by part.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import ours
import psutil
from rows import ROWS, SERVICE


def _children_cpu() -> float:
    """CPU seconds of all processes that this one has started."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))


def main(children: int, picture: Path, folder: Path) -> None:
    """Answer each line."""
    row = next(row for row in ROWS if row.name == SERVICE)
    row = replace(row, picture=picture.name)
    workers = children + 1  # one task more than children, so that none waits for its next
    tasks = [ours.task(row.told(str(picture.parent)), folder / f"result-{number}") for number in range(workers)]
    render, stop = ours.bare_pool(children)

    def loop(number: int, deadline: float) -> int:
        images = 0
        while time.monotonic() < deadline:
            for path in render(tasks[number]):
                path.unlink()  # the next one writes a new file, as in the service
            images += 1
        return images

    with ThreadPoolExecutor(workers) as threads:
        for line in sys.stdin:
            cpu, children_cpu, began = time.process_time(), _children_cpu(), time.monotonic()
            deadline = began + float(line)
            images = sum(threads.map(loop, range(workers), [deadline] * workers))
            passed = time.monotonic() - began
            used = {"parent": time.process_time() - cpu, "children": _children_cpu() - children_cpu}
            print(json.dumps({"images": images, "seconds": passed, "cpu": used}), flush=True)
    stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
