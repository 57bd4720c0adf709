"""A real nginx in front of the service: a process of its own, on a port of its own, with its files in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from img_contract.testing import HANG_SECONDS, free_port, until

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")

_USER: Final = "user root;" if os.geteuid() == 0 else ""
"""Else its worker would be another user, who may not write into the folder of a test."""

_FRAME: Final = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


@contextmanager
def nginx(folder: Path, http: str) -> Iterator[str]:
    """Run nginx with the content of its `http` block, where LISTEN stands for its address; yield its URL."""
    if NGINX is None:
        pytest.skip("no nginx on this machine: apt-get install nginx-light, or nginx")
    port = free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_FRAME.format(user=_USER, folder=folder, http=http.replace("LISTEN", f"127.0.0.1:{port}")))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config)], stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, why="nginx does not listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(HANG_SECONDS)
