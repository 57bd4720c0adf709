"""The command img-rest: help, and the faults that it reports at start."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from img_rest.command import main


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
