"""Waiting for jobs on a volume: no wait outlasts its time, whatever happens to the thread that watches."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from img_contract.job.job import new_job_id, now
from img_contract.job.outcome import Outcome, State
from img_contract.testing import HANG_SECONDS
from img_contract.volume.endings import EndWatch
from img_contract.volume.layout import Layout

LONG = 3600.0
"""Seconds: a test that waits them out fails by its own time-out."""


def never() -> bool:
    return False


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "volume")
    made.prepare()
    return made


@pytest.fixture
def job_id(layout: Layout) -> str:
    """A job that has not ended: for `EndWatch` its folder is all there is."""
    made = new_job_id()
    layout.folder(made).mkdir(parents=True)
    return made


@pytest.fixture
def end(layout: Layout, job_id: str) -> Callable[[], Any]:
    return lambda: layout.end(job_id, Outcome(state=State.CANCELLED, finished_at=now()))


@contextmanager
def meanwhile(act: Callable[[], Any]) -> Iterator[None]:
    """Do something in a thread while the block runs, and see it end."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield
    thread.join(HANG_SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have the system refuse threads, as at a limit of processes, until the fixture's `undo`."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch


def test_a_wait_ends_with_its_job(layout: Layout, job_id: str, end: Callable[[], Any]) -> None:
    watch = EndWatch(layout)
    with meanwhile(end):
        assert watch.wait(job_id, LONG, never)


def test_a_wait_ends_with_its_time(layout: Layout, job_id: str) -> None:
    assert not EndWatch(layout).wait(job_id, 0.05, never)


@pytest.mark.usefixtures("no_threads")
def test_without_a_thread_a_wait_ends_with_its_time(layout: Layout, job_id: str) -> None:
    watch = EndWatch(layout)
    assert not watch.wait(job_id, 0.05, never)
    assert not watch.wait(job_id, 0.05, never)


def test_once_threads_can_start_again_waits_end_with_their_jobs(
    layout: Layout, job_id: str, end: Callable[[], Any], no_threads: pytest.MonkeyPatch
) -> None:
    watch = EndWatch(layout)
    watch.wait(job_id, 0.05, never)
    no_threads.undo()
    with meanwhile(end):
        assert watch.wait(job_id, LONG, never)


def test_a_watch_that_hangs_holds_nobody_beyond_their_time(layout: Layout, job_id: str) -> None:
    watch, asked, go_on = EndWatch(layout), threading.Event(), threading.Event()

    def hang() -> bool:
        asked.set()
        return go_on.wait(HANG_SECONDS)

    with meanwhile(lambda: watch.wait(job_id, LONG, hang)):
        assert asked.wait(HANG_SECONDS)
        try:
            assert not watch.wait(job_id, 0.05, never)
        finally:
            go_on.set()


def test_an_error_is_its_waiters_alone(layout: Layout, job_id: str, end: Callable[[], Any]) -> None:
    watch, waiting, ended = EndWatch(layout), threading.Event(), []

    def observed() -> bool:
        waiting.set()
        return False

    def fail() -> bool:
        raise OSError("the client's connection is broken")

    with meanwhile(lambda: ended.append(watch.wait(job_id, LONG, observed))):
        assert waiting.wait(HANG_SECONDS)
        with pytest.raises(OSError, match="is broken"):
            watch.wait(job_id, LONG, fail)
        end()
    assert ended == [True]


def test_the_thread_ends_when_nobody_waits_and_starts_again(
    layout: Layout, job_id: str, end: Callable[[], Any]
) -> None:
    watch = EndWatch(layout)
    for _ in range(3):
        assert not watch.wait(job_id, 0.02, never)
        for thread in threading.enumerate():
            if thread.name == "watch-jobs":
                thread.join(HANG_SECONDS)
    assert "watch-jobs" not in {thread.name for thread in threading.enumerate()}
    with meanwhile(end):
        assert watch.wait(job_id, LONG, never)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has inotify")
def test_the_removal_of_a_marker_is_told(layout: Layout, job_id: str) -> None:
    """There is no outcome that a look could find."""
    watch = EndWatch(layout)
    layout.mark(job_id)
    waiting = threading.Event()

    def asked() -> bool:
        waiting.set()  # by the thread, which has asked the kernel before
        return False

    def unmark() -> None:
        waiting.wait(HANG_SECONDS)
        layout.unmark(job_id)

    with meanwhile(unmark):
        assert watch.wait(job_id, LONG, asked)
