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
HEARTBEAT_SECONDS = 10.0


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Host:
    """A network namespace with one address, plugged into the bridge of a hub."""

    def __init__(self, hub: str, number: int) -> None:
        self.name = f"{hub}h{number}"
        self.address = f"{NET}.{number}"
        self.within = ("ip", "netns", "exec", self.name)
        self._hub = hub
        ip("netns", "add", self.name)
        ip("-n", hub, "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", hub, "link", "set", self.name, "master", "bridge", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self) -> None:
        ip("-n", self._hub, "link", "set", self.name, "down")

    def heal(self) -> None:
        ip("-n", self._hub, "link", "set", self.name, "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


@pytest.fixture
def new_host() -> Iterator[Callable[[int], Host]]:
    """The bridge is in a namespace of its own, where no firewall of this machine's is."""
    hub = f"img{os.getpid() % 10_000}"
    try:
        ip("netns", "add", hub)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no namespace can be made here: {error.stderr!r}")
    with ExitStack() as cleaning:
        cleaning.callback(ip, "netns", "del", hub)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        ip("-n", hub, "link", "add", "root", "type", "veth", "peer", "name", hub, "netns", str(os.getpid()))
        cleaning.callback(subprocess.run, ["ip", "link", "del", hub], check=False, capture_output=True)
        ip("-n", hub, "link", "set", "root", "master", "bridge", "up")
        ip("addr", "add", f"{NET}.1/24", "dev", hub)
        ip("link", "set", hub, "up")

        def made(number: int) -> Host:
            host = Host(hub, number)
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
        engines = {cluster.start_engine(*host.within).pid: host for host in hosts}

        def holder(job_id: str, attempt: int) -> Host:
            """The host that makes an attempt, once there is one."""
            claim = until(lambda: cluster.jobs.read_claim(job_id, attempt), why=f"nobody made attempt {attempt}")
            return engines[int(claim.engine.rpartition(".")[2])]

        def seconds_until(job_id: str, attempt: int) -> float:
            since = time.monotonic()
            holder(job_id, attempt)
            return time.monotonic() - since

        # A host dies in the middle of a job: nobody says good-bye to the broker.
        job_id = clients.insist(slow_photo, **slow)
        dying = holder(job_id, 1)
        dying.cut()
        cluster.kill(next(one for one in cluster.started if engines.get(one.pid) is dying))
        took = seconds_until(job_id, 2) / HEARTBEAT_SECONDS
        assert clients.ended(job_id).attempt == 2
        figure("a host dies in mid-job", f"taken over after {took:.1f} heartbeats")

        # Another is cut off, goes on, and comes back with a late result.
        job_id = clients.insist(slow_photo, **slow)
        lonely = holder(job_id, 1)
        lonely.cut()
        took = seconds_until(job_id, 2) / HEARTBEAT_SECONDS
        assert clients.ended(job_id).attempt == 2
        lonely.heal()

        def late() -> list[dict[str, Any]]:
            told = cluster.events("claim_void", "attempt_cancelled", "job_done")
            return [one for one in told if (one["id"], one["attempt"]) == (job_id, 1)]

        until(late, why="the late one did not learn of it")
        assert not any(one.get("recorded") for one in late())
        figure(
            "a host is cut off in mid-job and comes back",
            f"taken over after {took:.1f} heartbeats; late result dropped",
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
