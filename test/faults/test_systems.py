"""Systems that lack something, or start a command as their first process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests
from img_contract.testing import HANG_SECONDS, free_port, until
from img_testing.service import BIN, Service
from img_testing.witness import TINY

pytestmark = pytest.mark.faults

MACOS = """
import os, resource, socket
del os.sched_getaffinity
del socket.TCP_USER_TIMEOUT
_setrlimit = resource.setrlimit

def setrlimit(which, limits):
    if which == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    _setrlimit(which, limits)

resource.setrlimit = setrlimit
"""
"""What macOS lacks or refuses, as far as it concerns us."""


def namespaced(*options: str) -> list[str]:
    """What to put before a command that is to have namespaces of its own."""
    command = ["unshare", *options]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this test makes namespaces, which is refused here")
    return command


def start(service: Service, command: str, *before: str, **settings: str) -> subprocess.Popen[bytes]:
    log = (service.logs / f"{command}-{len(service._started)}.log").open("wb")
    environment = os.environ | service._settings | settings
    process = subprocess.Popen([*before, BIN / command], env=environment, stdout=log, stderr=log)
    log.close()
    service._started.append(process)
    return process


def test_it_works_without_proc(make_service: Callable[..., Service]) -> None:
    hidden = [*namespaced("-m"), "sh", "-c", 'mount -t tmpfs none /proc && exec "$0"']
    service = make_service()
    start(service, "img-rest", *hidden)
    # The first request of all: a health check, most often.
    until(lambda: _status(service.url) is not None, why="img-rest did not answer")
    assert "Traceback" not in service.log()
    assert '"request_crashed"' not in service.log()
    start(service, "img-engine", *hidden)
    assert service.ended(service.post(TINY, width=8)).status == "done"
    assert "Traceback" not in service.log()


def _status(url: str) -> int | None:
    try:
        answer = requests.get(f"{url}/health", timeout=HANG_SECONDS)
    except requests.ConnectionError:
        return None
    assert answer.status_code == 200
    return answer.status_code


def test_it_works_where_the_system_knows_no_affinity_and_limits_no_memory(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(MACOS)
    service = make_service(PYTHONPATH=str(tmp_path))
    service.start_rest()
    service.start_engine()
    assert service.ended(service.post(TINY, width=8)).status == "done"
    until(lambda: '"memory_not_limited"' in service.log(), why="nobody says that memory has no limit")
    assert "Traceback" not in service.log()


def test_it_says_that_libturbojpeg_is_missing_and_works_without(
    make_service: Callable[..., Service], photo: bytes
) -> None:
    hide = 'for one in $(ldconfig -p | sed -n "s/.*libturbojpeg.* => //p"); do mount --bind /dev/null "$one"; done'
    service = make_service()
    start(service, "img-engine", *namespaced("-m"), "sh", "-ec", f'{hide}; exec "$0"')
    until(lambda: '"libturbojpeg_missing"' in service.log(), why="nobody says that it is missing")
    service.start_rest()
    assert service.ended(service.post(photo, width=300)).status == "done"


@pytest.mark.parametrize(("command", "library"), [("img-rest", "granian"), ("img-engine", "zmq")])
def test_a_signal_ends_the_first_process_of_a_container_from_the_start(
    make_service: Callable[..., Service], command: str, library: str
) -> None:
    """The kernel gives a first process no signal that it does not handle: the handler is there before slow imports."""
    service = make_service()
    outside = start(service, command, *namespaced("-fp", "--mount-proc", "--kill-child"))
    inside = until(lambda: next(iter(psutil.Process(outside.pid).children()), None))
    maps, status = Path(f"/proc/{inside.pid}/maps"), Path(f"/proc/{inside.pid}/status")
    until(lambda: library in maps.read_text())
    caught = int(next(line for line in status.read_text().splitlines() if line.startswith("SigCgt")).split()[1], 16)
    assert caught >> (signal.SIGTERM - 1) & 1, "SIGTERM is not handled yet"
    inside.send_signal(signal.SIGTERM)
    assert outside.wait(HANG_SECONDS) == 0


@pytest.mark.parametrize(("host", "url"), [("localhost", "http://localhost:{}/"), ("[::]", "http://[::1]:{}/")])
def test_a_host_by_name_or_with_brackets_is_served(make_service: Callable[..., Service], host: str, url: str) -> None:
    port = free_port()
    service = make_service(IMG_HTTP__HOST=host, IMG_HTTP__PORT=str(port))
    start(service, "img-rest")
    until(lambda: _status(url.format(port).rstrip("/")) == 200, why="it is not served")
    assert f"http://localhost:{port}/ (Swagger UI)" in service.log()


def test_the_notifier_rings_over_ipv6(make_service: Callable[..., Service]) -> None:
    address = f"tcp://[::1]:{free_port()}"
    service = make_service(IMG_NOTIFIER__BIND=address, IMG_NOTIFIER__CONNECT=address)
    service.start_rest()
    service.start_engine()

    def notified() -> bool:
        job_id = service.post(TINY, width=8)
        service.ended(job_id)
        until(lambda: any(job_id in line and '"job_done"' in line for line in service.log().splitlines()))
        return not any(job_id in line and '"engines_not_notified"' in line for line in service.log().splitlines())

    until(notified, why="no job was notified")
    assert '"notifier_not_bound"' not in service.log()
