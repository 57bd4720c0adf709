"""An upload is read only if it is a regular file at its path."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from img_contract.job.formats import Format
from img_contract.job.resize import Resize
from img_contract.regular_file import NotARegularFile, open_regular
from img_engine.render.render import render
from img_engine.render.task import PictureLimits, RenderOutcome, Task, Watermark
from img_testing import trial
from img_testing.samples import encoded, four_corners

LIMITS = PictureLimits(pixels=4_000_000, frames=20, memory=2**30, animation_pixels=8_000_000)

PNG = encoded(four_corners(), "PNG")


def a_link(at: Path) -> None:
    (at.parent / "elsewhere").write_bytes(PNG)
    at.symlink_to(at.parent / "elsewhere")


def a_link_to_nothing(at: Path) -> None:
    at.symlink_to(at.parent / "nowhere")


def a_pipe(at: Path) -> None:
    os.mkfifo(at)


def a_socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(at))


def nothing(at: Path) -> None:
    assert not at.exists()


NO_FILES = [a_link, a_link_to_nothing, a_pipe, a_socket, Path.mkdir, nothing]


def task(folder: Path, watermark: Path | None = None) -> Task:
    mark = Watermark(watermark, Format.PNG) if watermark else None
    return Task(folder / "source", Format.PNG, Resize(width=8), folder / "result", LIMITS, mark)


@pytest.mark.parametrize("make", NO_FILES)
def test_anything_but_a_regular_file_counts_as_missing(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "source")
    with pytest.raises(FileNotFoundError):
        render(task(tmp_path))


@pytest.mark.parametrize("make", NO_FILES)
def test_a_watermark_that_is_no_regular_file_counts_as_missing(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(PNG)
    make(tmp_path / "watermark")
    with pytest.raises(FileNotFoundError):
        render(task(tmp_path, tmp_path / "watermark"))


def test_a_file_is_read_also_if_a_folder_above_it_is_a_link(tmp_path: Path) -> None:
    """The volume itself may be one."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "source").write_bytes(PNG)
    (tmp_path / "linked").symlink_to(tmp_path / "volume")
    assert isinstance(render(task(tmp_path / "linked")), RenderOutcome)
    with open_regular(tmp_path / "linked" / "source") as file:
        assert file.read() == PNG
        assert file.name == str(tmp_path / "linked" / "source")
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)


@pytest.mark.parametrize("make", NO_FILES)
def test_a_missing_file_is_distinguished_from_what_is_no_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "source")
    with pytest.raises(FileNotFoundError) as raised:
        open_regular(tmp_path / "source")
    assert (raised.type is NotARegularFile) == (make is not nothing)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    a_pipe(tmp_path / "source")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(FileNotFoundError):
            open_regular(tmp_path / "source")
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_kernel_takes_a_child_before_its_parent() -> None:
    with trial.pool() as pool:
        assert pool.schedule(trial.oom_score, timeout=60).result() == 1000
    assert trial.oom_score() < 1000
