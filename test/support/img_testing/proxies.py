"""A real nginx or Caddy in front of the service: a process and a port of its own, with its files in one folder."""

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
CADDY: Final = shutil.which("caddy")

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


_CADDYFILE: Final = """
{{
    admin off
}}
{site}
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
    with _running(folder, [NGINX, "-p", str(folder), "-c", str(config)], port) as url:
        yield url


@contextmanager
def caddy(folder: Path, site: str) -> Iterator[str]:
    """Run Caddy with the block of a site, where LISTEN stands for its address; yield its URL."""
    if CADDY is None:
        pytest.skip("no Caddy on this machine: apt-get install caddy")
    port = free_port()
    folder.mkdir()
    config = folder / "Caddyfile"
    config.write_text(_CADDYFILE.format(site=site.replace("LISTEN", f"http://127.0.0.1:{port}")))
    with _running(folder, [CADDY, "run", "--config", str(config)], port) as url:
        yield url


@contextmanager
def _running(folder: Path, command: list[str], port: int) -> Iterator[str]:
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | home)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, why=f"{command[0]} does not listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(HANG_SECONDS)
