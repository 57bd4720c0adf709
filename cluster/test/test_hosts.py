"""Hosts of their own, in network namespaces: one dies, one is cut off and comes back, so do broker and store."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from img_cluster.local import Broker, ObjectStore
from img_contract.testing import until
from img_testing.cluster import Clients, Cluster
from img_testing.witness import FULL

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not FULL, reason="a figure: FAULTS=full"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="namespaces need root and ip (iproute2)"
    ),
]

NET = "10.77.0"
HEARTBEAT_SECONDS = 2.0


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Host:
    """A network namespace with one address, plugged into the bridge of this machine."""

    def __init__(self, bridge: str, number: int) -> None:
        self.name = f"{bridge}h{number}"
        self.address = f"{NET}.{number}"
        self.within = ("ip", "netns", "exec", self.name)
        ip("netns", "add", self.name)
        ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.name, "master", bridge, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self) -> None:
        ip("link", "set", self.name, "down")

    def heal(self) -> None:
        ip("link", "set", self.name, "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.name], check=False, capture_output=True)


@pytest.fixture
def new_host() -> Iterator[Callable[[int], Host]]:
    bridge = f"img{os.getpid() % 10_000}"
    try:
        ip("link", "add", bridge, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no bridge can be made here: {error.stderr!r}")
    with ExitStack() as cleaning:
        cleaning.callback(ip, "link", "del", bridge)
        ip("addr", "add", f"{NET}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")

        def made(number: int) -> Host:
            host = Host(bridge, number)
            cleaning.callback(host.remove)
            return host

        yield made


def test_hosts_that_die_or_are_cut_off_lose_nothing(
    new_host: Callable[[int], Host],
    tmp_path: Path,
    figure: Callable[[str, str], None],
    slow_photo: bytes,
    slow: dict[str, Any],
) -> None:
    at_broker, at_store = new_host(10), new_host(11)
    hosts = [new_host(20 + number) for number in range(3)]
    broker = Broker(tmp_path / "broker", at_broker.address, at_broker.within)
    store = ObjectStore(tmp_path / "store", at_store.address, at_store.within)
    with ExitStack() as cleaning:
        for part in (store, broker):
            cleaning.callback(part.stop)
            cleaning.callback(part.kill)
            part.start()
        cluster = Cluster(
            store,
            broker,
            tmp_path,
            IMG_QUEUE__HEARTBEAT_SECONDS=str(HEARTBEAT_SECONDS),
            IMG_QUEUE__TIMEOUT_SECONDS="3",
            IMG_STORE__TIMEOUT_SECONDS="10",
            IMG_ENGINE__HEARTBEAT_SECONDS="1",
        )
        cleaning.callback(cluster.kill_all)
        replica = cluster.start_rest()
        clients = Clients(cluster, lambda: [replica])
        engines = []

        # A host dies in the middle of a job: nobody says good-bye to the broker.
        engines.append(cluster.start_engine(*hosts[0].within))
        doomed = clients.insist(slow_photo, **slow)
        until(lambda: cluster.events("job_claimed"), why="nobody took it")
        hosts[0].cut()
        cluster.kill(engines[0])
        since = time.monotonic()
        engines.append(cluster.start_engine(*hosts[1].within))
        until(lambda: len(cluster.events("job_claimed")) == 2, why="nobody took it over")
        figure(
            "a host dies in mid-job",
            f"taken over after {(time.monotonic() - since) / HEARTBEAT_SECONDS:.1f} heartbeats",
        )

        # The next one is cut off, goes on, and comes back with a late result.
        hosts[1].cut()
        since = time.monotonic()
        engines.append(cluster.start_engine(*hosts[2].within))
        until(lambda: len(cluster.events("job_claimed")) == 3, why="nobody took it over")
        taken = (time.monotonic() - since) / HEARTBEAT_SECONDS
        assert clients.ended(doomed).attempt == 3
        hosts[1].heal()
        until(
            lambda: [
                one for one in cluster.events("claim_void", "attempt_cancelled", "job_done") if one["attempt"] == 2
            ],
            why="the late one did not learn of it",
        )
        assert [one for one in cluster.events("job_done") if one["recorded"] and one["attempt"] == 2] == []
        figure(
            "a host is cut off in mid-job and comes back",
            f"taken over after {taken:.1f} heartbeats; late result dropped",
        )

        for name, host in (("broker", at_broker), ("store", at_store)):
            for _ in range(5):
                clients.insist()
            host.cut()
            refused = clients.refused.total()
            until(lambda refused=refused: clients.post() is None and clients.refused.total() > refused)  # type: ignore[misc]
            host.heal()
            since = time.monotonic()
            clients.insist()
            figure(f"the {name} is cut off", f"refused meanwhile; accepts again {time.monotonic() - since:.1f} s after")
        statuses = clients.verdict()
        figure("all of these", f"{len(statuses)} jobs, lost 0")
