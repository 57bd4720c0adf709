"""Logging never decides the fate of anything: it drops lines, and says how many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from img_contract.logs import LossyStream
from img_contract.testing import until
from structlog.testing import capture_logs

PROGRAM = """
import structlog
from img_contract.logs import configure_logs, open_standard_streams, say
open_standard_streams()
opened = open({path!r}, "w")
say("starting")
configure_logs("info", "test")
log = structlog.get_logger()
for number in range({lines}):
    log.info("a_line", number=number)
opened.write("whole")
opened.close()
"""


def run(tmp_path: Path, shell: str, lines: int = 3) -> str:
    """Run a program that logs, in a shell that does something to its stderr; return what comes out."""
    target = tmp_path / "file"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(path=str(target), lines=lines))
    command = f"{sys.executable} {program} {shell}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert target.read_text() == "whole", done.stderr
    return done.stdout + done.stderr


def test_lines_are_written_in_order_and_to_the_last(tmp_path: Path) -> None:
    first, *lines = run(tmp_path, "", lines=500).splitlines()
    assert first == "starting"
    assert [json.loads(line)["number"] for line in lines] == list(range(500))


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full", "2>&1 | head -n 1", "2>&1 | true", "<&- >&- 2>&-"])
def test_a_stderr_that_takes_nothing_stops_nothing(tmp_path: Path, shell: str) -> None:
    run(tmp_path, shell, lines=5000)


def test_a_stderr_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    target = tmp_path / "file"
    program = PROGRAM.format(path=str(target), lines=20_000)
    with subprocess.Popen([sys.executable, "-c", program], stderr=writer) as process:
        os.close(writer)
        assert process.wait(120) == 0
    os.close(reader)
    assert target.read_text() == "whole"


def test_a_line_is_not_lost_where_the_number_of_stderr_leads_elsewhere_for_a_moment(tmp_path: Path) -> None:
    """As while an engine starts its helpers with other streams."""
    with (tmp_path / "log").open("wb") as file, (tmp_path / "elsewhere").open("wb") as elsewhere:
        lossy = LossyStream(file.fileno())
        os.dup2(elsewhere.fileno(), file.fileno())
        lossy.write("a line\n")
        lossy.drain()
    assert (tmp_path / "log").read_text() == "a line\n"


def test_what_was_dropped_is_counted_and_logged_when_lines_are_written_again() -> None:
    reader, writer = os.pipe()
    with capture_logs() as logs:
        lossy = LossyStream(writer)
        for _ in range(3000):
            lossy.write("x" * 200 + "\n")
        until(lambda: lossy.dropped)
        lost = lossy.dropped
        with os.fdopen(reader) as lines:
            for _ in range(3000 - lost):
                assert lines.readline() == "x" * 200 + "\n"
            until(lambda: logs and logs[-1]["since_start"] == lossy.dropped)
    assert {line["event"] for line in logs} == {"log_lines_dropped"}
    assert sum(line["lines"] for line in logs) == lossy.dropped
