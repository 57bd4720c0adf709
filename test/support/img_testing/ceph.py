"""Ceph's S3 gateway over one node, all in memory: `CEPH=1`, with Debian's radosgw, ceph-mon, ceph-osd, ceph-mgr."""

from __future__ import annotations

import hmac
import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import b64encode
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Final

import httpx2
import pytest
from img_cluster.bucket import Bucket, open_bucket
from img_contract.cluster_config import StoreConfig
from img_contract.testing import HANG_SECONDS, free_port, until
from pydantic import SecretStr

PROGRAMS: Final = (
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "radosgw",
    "radosgw-admin",
    "ceph-authtool",
    "monmaptool",
    "ceph",
)
_MISSING: Final = [name for name in PROGRAMS if shutil.which(name) is None]
NO_CEPH: Final = (
    "a run with Ceph: CEPH=1"
    if os.environ.get("CEPH", "") in ("", "0")
    else f"Ceph is not installed: {', '.join(_MISSING)}"
    if _MISSING
    else ""
)
"""Why there is no gateway here; empty if there can be one."""

_ALL: Final = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
_CONFIGURATION: Final = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}
public addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
keyring = {folder}/admin.keyring
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
run dir = {folder}
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
[mgr.x]
mgr data = {folder}/mgr
mgr initial modules =
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


class Gateway:
    """The daemons in a folder, with a short path, as they make sockets there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._secret = uuid.uuid4().hex
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.config = StoreConfig(
            kind="s3",
            bucket="pictures",
            endpoint=f"http://127.0.0.1:{self._port}",
            access_key="img",
            secret_key=SecretStr(self._secret),
            timeout_seconds=30,
        )

    def start(self) -> None:
        """Start it, and make its user and its bucket."""
        monitors = {"mon": free_port(), "mon_v1": free_port()}
        fsid = str(uuid.uuid4())
        text = _CONFIGURATION.format(fsid=fsid, folder=self._folder, port=self._port, **monitors)
        (self._folder / "ceph.conf").write_text(text)
        for name in ("mon", "osd", "mgr"):
            (self._folder / name).mkdir()
        self._run("ceph-authtool", "--create-keyring", "admin.keyring", "--gen-key", "-n", "client.admin", *_ALL)
        for name in ("osd.0", "mgr.x", "client.rgw"):
            self._run("ceph-authtool", "admin.keyring", "--gen-key", "-n", name, *_ALL)
        shutil.copy(self._folder / "admin.keyring", self._folder / "mon.keyring")
        self._run("ceph-authtool", "mon.keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", "admin.keyring", "--import-keyring", "mon.keyring")
        addresses = "[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]".format(**monitors)
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, "--clobber", "monmap")
        self._ceph("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "mon.keyring")
        self._spawn("ceph-mon", "-i", "a")
        self._spawn("ceph-mgr", "-i", "x")
        osd = str(uuid.uuid4())
        self._ceph("ceph", "osd", "new", osd)
        self._ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0")
        until(lambda: "1 up" in self._ceph("ceph", "osd", "stat"), why="the OSD is not up")
        self._spawn("radosgw", "-n", "client.rgw")
        until(self._answers, why="the gateway does not answer")
        keys = ("--access-key", "img", "--secret-key", self._secret)
        self._ceph("radosgw-admin", "user", "create", "--uid", "img", "--display-name", "img", *keys)
        self._make_bucket()

    def kill(self) -> None:
        """End it."""
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait(HANG_SECONDS)

    def _make_bucket(self) -> None:
        """Make the bucket by a request that is signed as in version 2 of the signatures, which is the short one."""
        date, name = formatdate(usegmt=True), self.config.bucket
        signed = hmac.new(self._secret.encode(), f"PUT\n\n\n{date}\n/{name}".encode(), "sha1").digest()
        headers = {"Date": date, "Authorization": f"AWS img:{b64encode(signed).decode()}"}
        httpx2.put(f"{self.config.endpoint}/{name}", headers=headers).raise_for_status()

    def _answers(self) -> bool:
        try:
            httpx2.get(str(self.config.endpoint))
        except httpx2.RequestError:
            return False
        return True

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.out").open("wb") as log:
            command = [program, "-c", "ceph.conf", *arguments, "-f"]
            self._daemons.append(subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log))

    def _ceph(self, program: str, *arguments: str) -> str:
        return self._run(program, "-c", "ceph.conf", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def ceph() -> Iterator[Gateway]:
    """A gateway of Ceph, one for all tests."""
    if NO_CEPH:
        pytest.skip(NO_CEPH)
    with tempfile.TemporaryDirectory(prefix="ceph-", dir="/tmp") as folder:  # sockets want a short path
        gateway = Gateway(Path(folder))
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.kill()


@pytest.fixture
def ceph_bucket(ceph: Gateway) -> Bucket:
    """A part of it that nobody else uses."""
    return open_bucket(ceph.config.model_copy(update={"prefix": uuid.uuid4().hex}))
