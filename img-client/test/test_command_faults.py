"""The command img when it is stopped, or the service goes away: nothing is half written, and it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from img_client import ImgError
from img_client.command.patience import no_such_host
from img_contract.testing import HANG_SECONDS, until
from img_testing.samples import encoded
from img_testing.service import BIN, Service
from PIL import Image

COUNT = 8
SOME = 3
KEY = "a key of mine"

pytestmark = [pytest.mark.long, pytest.mark.python_independent]


@pytest.fixture(scope="module")
def keyed(standing: Callable[..., Service]) -> Service:
    """A service that asks for a key, without an engine."""
    service = standing(IMG_ACCESS__KEYS=json.dumps({"me": hashlib.sha256(KEY.encode()).hexdigest()}))
    service.start_rest()
    return service


@pytest.fixture(scope="module")
def working(keyed: Service) -> Service:
    """The same from now on with an engine; a test that stops some of it starts it again."""
    keyed.start_engine()
    return keyed


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:02}.png").write_bytes(encoded(Image.effect_noise((300 + number, 200), 60)))
    return folder


@contextmanager
def running(service: Service, *arguments: str | Path, in_background: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run the command, without a terminal, while the test does something to it."""
    # As a shell starts a background job: Ctrl-C is not for it, but it can be ended.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if in_background else []
    command = [*ignoring, *(str(part) for part in (BIN / "img", "resize", *arguments))]
    environment = os.environ | {"IMG_SERVER": service.url, "IMG_KEY": KEY}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def jobs(service: Service) -> int:
    return len(list((service.volume / "jobs").glob("*/*")))


def check_whole(out: Path) -> int:
    """Return how many results there are; each is a whole picture, and there is nothing else."""
    found = list(out.rglob("*")) if out.exists() else []
    for path in found:
        with Image.open(path) as image:
            image.load()
    return len(found)


def resize_some(service: Service, pictures: Path, *arguments: str | Path) -> None:
    """Let the command do the first few pictures to their end."""
    with running(service, *sorted(pictures.iterdir())[:SOME], *arguments) as process:
        assert process.communicate(timeout=HANG_SECONDS) == ("", "")


def test_a_wrong_key_is_told_once(keyed: Service, pictures: Path, tmp_path: Path) -> None:
    with running(keyed, pictures, "-o", tmp_path / "out", "-w", "5", "--key", "another") as process:
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told.count("\n")) == (1, 1)
    assert "expected an API key" in told


def test_a_service_without_an_engine_is_not_waited_for_forever(keyed: Service, pictures: Path, tmp_path: Path) -> None:
    with running(keyed, pictures, "-o", tmp_path / "out", "-w", "98", "-j", "2", "--patience", "1") as process:
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 1
    assert told.startswith("img: no_engine: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_interrupted_leaves_nothing_half_written_and_goes_on(
    working: Service, pictures: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out, before = tmp_path / "out", jobs(working)
    options = ("-o", out, "-w", str(100 + number), "-j", "2", "--format", "webp")
    resize_some(working, pictures, *options)
    in_background = number == signal.SIGTERM
    with (
        working.frozen(working.engine),
        running(working, pictures, *options, in_background=in_background) as process,
    ):
        until(lambda: jobs(working) > before + SOME)
        process.send_signal(number)
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told.splitlines()) == (
        130,
        ["img: stopped; the same command goes on where it was", "img: 3 skipped, newer results are there (--force)"],
    )
    assert check_whole(out) == SOME
    with running(working, pictures, *options, "--json") as process:
        lines, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told) == (0, "")
    states = [json.loads(line)["state"] for line in lines.splitlines()]
    assert (states.count("skipped"), states.count("done")) == (SOME, COUNT - SOME)
    assert check_whole(out) == COUNT
    assert jobs(working) == before + COUNT


def test_ctrl_c_stops_rendering_on_this_machine_too(keyed: Service, tmp_path: Path, slow_photo: bytes) -> None:
    (tmp_path / "slow.png").write_bytes(slow_photo)
    out = tmp_path / "out"
    command = (tmp_path / "slow.png", "-o", out, "-w", "2000", "--format", "avif", "--effort", "10", "--local")
    with running(keyed, *command) as process:
        until(lambda: out.exists() and any(out.iterdir()))  # it has begun
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told) == (130, "img: stopped; the same command goes on where it was\n")
    assert check_whole(out) == 0


def test_a_service_that_comes_back_is_waited_for(working: Service, pictures: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out", jobs(working)
    with running(working, pictures, "-o", out, "-w", "99", "-j", "2") as process:
        with working.frozen(working.engine):
            until(lambda: jobs(working) > before)
            assert working.rest
            working.kill(working.rest)
            working.start_rest()
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told) == (0, "")
    assert check_whole(out) == COUNT
    assert jobs(working) == before + COUNT


def _listener(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_a_service_that_does_not_answer_yet_is_waited_for(working: Service, pictures: Path, tmp_path: Path) -> None:
    assert working.rest
    working.kill(working.rest)
    with until(lambda: _listener(working.port)) as starting:  # once the killed one's children have gone, too
        starting.settimeout(HANG_SECONDS)
        with running(working, pictures, "-o", tmp_path / "out", "-w", "61") as process:
            for _ in range(2):  # a connection that broke is tried again at once, without patience
                starting.accept()[0].close()
            starting.close()
            working.start_rest()
            _, told = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, told) == (0, "")
    assert check_whole(tmp_path / "out") == COUNT


def test_a_host_that_does_not_exist_is_told_from_one_that_may_come() -> None:
    unknown, busy = ImgError("no answer"), ImgError("no answer")
    unknown.__cause__ = OSError()
    unknown.__cause__.__context__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    busy.__cause__ = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert [no_such_host(error) for error in (unknown, busy, ImgError("no answer"))] == [True, False, False]


def test_a_service_that_stays_away_is_given_up_when_patience_ends(
    working: Service, pictures: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", ("-w", "101", "-j", "2")
    resize_some(working, pictures, "-o", out, *options)
    before = jobs(working)
    with working.frozen(working.engine), running(working, pictures, "-o", out, *options, "--patience", "1") as process:
        until(lambda: jobs(working) > before)
        assert working.rest
        working.kill(working.rest)
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 1
    assert told.startswith(f"img: no service answers at {working.url}; ")
    assert check_whole(out) == SOME
    working.start_rest()
