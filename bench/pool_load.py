"""The engine's children without the service: what they do when nothing else is asked of the machine.

pool_load.py CHILDREN ROW PICTURES FOLDER. A line on standard input has `seconds`; the answer is that of client.py.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ours
from rows import SERVED


def main(children: int, name: str, pictures: str, folder: Path) -> None:
    """Answer each line."""
    row = next(row for row in SERVED if row.name == name)
    workers = children + 1  # one task more than children, so that none waits for its next
    tasks = [ours.task(row.told(pictures), folder / f"result-{number}") for number in range(workers)]
    render, stop = ours.bare_pool(children)

    def loop(number: int, seconds: float) -> tuple[int, float]:
        done = 0
        now = began = time.perf_counter()
        while now < began + seconds:
            for path in render(tasks[number]):
                path.unlink()  # the next one writes a new file, as in the service
            done += 1
            now = time.perf_counter()
        return done, now - began

    with ThreadPoolExecutor(workers) as threads:
        for line in sys.stdin:
            loops = list(threads.map(loop, range(workers), [json.loads(line)["seconds"]] * workers))
            done, rate = sum(done for done, _ in loops), sum(done / passed for done, passed in loops)
            print(json.dumps({"done": done, "rate": rate, "ms": [], "cpu": 0.0}), flush=True)
    stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
