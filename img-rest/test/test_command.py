"""The command img-rest: help, and faults at start that are told in one go."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def img_rest(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "img_rest", *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_and_version_are_told() -> None:
    assert "--config" in img_rest("--help").stdout
    assert img_rest("--version").stdout.strip()


def test_a_faulty_configuration_ends_at_once_and_names_every_fault(tmp_path: Path) -> None:
    ended = img_rest(IMG_VOLUME=str(tmp_path), IMG_HTTP__PORT="0", IMG_LIMITS__PIXELS="many")
    assert ended.returncode == 2
    assert "http.port: expected at least 1, found '0'" in ended.stderr
    assert "limits.pixels: expected a whole number, found 'many'" in ended.stderr


def test_a_volume_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = img_rest(IMG_VOLUME=str(tmp_path / "file" / "volume"))
    assert ended.returncode == 2
    assert "Not a directory" in ended.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = img_rest(IMG_VOLUME=str(tmp_path), IMG_HTTP__PORT=port)
    assert ended.returncode == 2
    assert f"expected an address that is free, found 127.0.0.1:{port}: Address already in use" in ended.stderr
