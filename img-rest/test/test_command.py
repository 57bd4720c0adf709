"""The command img-rest: help, and the faults that it reports at start."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from img_contract.errors import ConfigError
from img_contract.testing import free_port
from img_rest.command import main
from img_rest.server.process import address_to_bind, shared_flag, url_of


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Start the command with these settings, see it refuse, and return what it reports."""

    def refused(**settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert main([]) == 2
        return capsys.readouterr().err

    return refused


def test_the_command_has_a_version() -> None:
    command = [sys.executable, "-m", "img_rest", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_help_names_the_option_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert (ended.value.code, "--config" in capsys.readouterr().out) == (0, True)


def test_a_faulty_configuration_ends_at_once_and_names_every_fault(tmp_path: Path, faults: Callable[..., str]) -> None:
    found = faults(IMG_VOLUME=str(tmp_path), IMG_HTTP__PORT="0", IMG_LIMITS__PIXELS="many")
    assert "http.port: expected at least 1, found '0'" in found
    assert "limits.pixels: expected a whole number, found 'many'" in found


def test_a_volume_that_cannot_be_written_is_reported(tmp_path: Path, faults: Callable[..., str]) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in faults(IMG_VOLUME=str(tmp_path / "file" / "volume"))


def test_a_port_in_use_is_reported(tmp_path: Path, faults: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        found = faults(IMG_VOLUME=str(tmp_path), IMG_HTTP__PORT=port)
    assert f"expected an address that is free, found 127.0.0.1:{port}: Address already in use" in found


@pytest.mark.parametrize(
    "host",
    [
        "nowhere.invalid",
        "256.1.1.1",
        "192.0.2.7",
        "2001:db8::7",
        "a b",
        "http://localhost",
        "a..b",
        ".",
        f"{'a' * 64}.example",
        "\udcff",
        "fe80::1",
        "ff02::1",
    ],
)
def test_a_host_that_is_none_of_this_machine_is_a_fault_of_the_host(
    tmp_path: Path, faults: Callable[..., str], host: str
) -> None:
    found = faults(IMG_VOLUME=str(tmp_path), IMG_HTTP__HOST=host, IMG_HTTP__PORT=str(free_port()))
    assert (
        "http.host: expected an address of this machine or a name of one, such as 127.0.0.1, :: or localhost" in found
    )
    assert f"found {host!r}" in found


def test_a_host_that_is_empty_in_the_file_is_a_fault_of_the_host() -> None:
    with pytest.raises(ConfigError, match=r"http\.host"):
        address_to_bind("", free_port())


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:{}/"),
        ("localhost", "127.0.0.1", "http://localhost:{}/"),
        ("::", "::", "http://localhost:{}/"),
        ("[::]", "::", "http://localhost:{}/"),
        ("0.0.0.0", "0.0.0.0", "http://localhost:{}/"),
        ("::1", "::1", "http://[::1]:{}/"),
    ],
)
def test_a_host_is_bound_by_its_address_and_its_url_can_be_opened(host: str, address: str, url: str) -> None:
    port = free_port()
    assert address_to_bind(host, port) == address
    assert url_of(host, address, port) == url.format(port)


def test_a_key_that_cannot_be_written_is_told_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "img_rest", "--new-key"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (
        1,
        "expected a stdout that can be written, found: No space left on device\n",
    )


def test_shared_memory_that_cannot_be_made_is_told_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("img_rest.server.process.RawValue", refused)
    with pytest.raises(ConfigError, match=r"found .*shm: Read-only file system; mount a tmpfs there"):
        shared_flag()
