"""The children and their limits: what they raise comes out, and what limits the engine has inherited stay."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from img_contract.testing import HANG_SECONDS
from img_engine.process.pool import Children, cpu_budget
from img_engine.process.remote import Rendering
from img_engine.render.task import RenderOutcome, Task
from img_testing import trial
from img_testing.samples import encoded, four_corners


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children(1, trial.CHILD_BYTES, 30)
    made.wait_ready()
    yield made
    made.stop()


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("not yet"),
        RecursionError("too deep"),
        RuntimeError("a defect"),
        MemoryError(),
        ValueError("a defect"),
        OSError(errno.ENOSPC, "full"),
        TimeoutError(errno.ETIMEDOUT, "the network's disk"),
    ],
    ids=repr,
)
def test_whatever_the_code_in_a_child_raises_comes_out_as_itself(
    error: Exception, children: Children, tmp_path: Path
) -> None:
    """Not as children that are being restarted: that would be tried again for ever."""
    source: Any = trial.Trap(error)
    task = Task(cast("Path", source), Format.PNG, Resize(width=8), tmp_path / "result", trial.LIMITS)
    with pytest.raises(type(error)) as raised:
        children.render(task, lambda _: None)
    assert raised.type is type(error)
    assert raised.value.args == error.args


@pytest.mark.parametrize(("hard", "seconds"), [(600, 30.0), (8, 5.0)])
def test_an_inherited_limit_of_cpu_time_is_kept_and_pictures_are_rendered_within_it(
    hard: int, seconds: float, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(encoded(four_corners(), "PNG"))
    script = Path(__file__).with_name("limited.py")
    command = [sys.executable, str(script), str(tmp_path), str(hard), str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [RenderOutcome.__name__] * 3 + [str(hard)]


@given(st.floats(0.1, 3600), st.integers(4, 100_000))
def test_all_pictures_of_a_child_stay_within_its_limit(task_seconds: float, hard: int) -> None:
    seconds, tasks = cpu_budget(task_seconds, hard)
    assert seconds >= 1
    assert tasks >= 1
    assert tasks * (seconds + 1) < hard
    unlimited, any_number = cpu_budget(task_seconds, None)
    assert seconds <= unlimited
    assert any_number == 0


def test_a_temporary_folder_whose_path_is_too_long_for_sockets_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    environment = os.environ | {"TMPDIR": str(folder), "IMG_VOLUME": str(tmp_path / "volume")}
    command = Path(sys.executable).with_name("img-engine")
    ended = subprocess.run(
        [command], env=environment, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
    )
    assert ended.returncode == 2
    assert "expected in TMPDIR a folder that can be written, with a path of at most 70 bytes\n" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_time_that_children_work_is_told_and_how_many_do(children: Children, tmp_path: Path) -> None:
    before = children.busy_seconds
    (tmp_path / "source").write_bytes(encoded(four_corners(), "PNG"))
    task = Task(tmp_path / "source", Format.PNG, Resize(width=8), tmp_path / "result", trial.LIMITS)
    renderings: list[Rendering] = []
    children.render(task, renderings.append)
    (rendering,) = renderings
    assert 0 < rendering.seconds == pytest.approx(children.busy_seconds - before)
    assert children.busy == 0
    with children._child():
        assert children.busy == 1
