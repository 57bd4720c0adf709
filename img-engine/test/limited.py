"""Three pictures in the children of an engine under `ulimit -t`: limited.py FOLDER HARD_CPU_SECONDS TASK_SECONDS.

Prints what became of each, and the hard limit that a child has.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from img_engine.process.pool import Children
from img_engine.render.task import Task
from img_testing import trial


def main(folder: Path, hard: int, task_seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    children = Children(1, trial.CHILD_BYTES, task_seconds)
    children.wait_ready()
    task = Task(folder / "source", Format.PNG, Resize(width=8), folder / "result", trial.LIMITS)
    for _ in range(3):
        print(type(children.render(task, lambda _: None)).__name__)  # noqa: T201
    with children._child() as child:
        print(child.call(resource.getrlimit, resource.RLIMIT_CPU, seconds=60)[1])  # noqa: T201
    children.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
