"""SIGTERM to either under load, and a rolling restart of both: no client sees an error, no attempt is charged."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import img_client
import pytest
from img_client import Unreachable
from img_contract.testing import until
from img_testing.service import Service
from img_testing.witness import Row, Witness, all_jobs, leftovers, picture, rounds

pytestmark = pytest.mark.faults

CLIENTS: Final = 8


class Client(Witness):
    """Tries again only when the connection was refused; what else breaks is kept."""

    def post_or_refused(self) -> bool:
        try:
            with img_client.Client(self.service.url, retries=0) as client:  # a connection of its own
                self.accepted.append(client.submit(PICTURE, idempotency_key="", width=300).id)
        except Unreachable as error:
            if "Connection refused" not in error.detail:
                self.broken.append(error.detail)
            return False
        return True

    @property
    def broken(self) -> list[str]:
        found: list[str] = self.__dict__.setdefault("_broken", [])
        return found


PICTURE: Final = picture(640, 480, "JPEG")


def under_load(client: Client, jobs: int, act: Callable[[], None]) -> None:
    """Post so many jobs from several clients; a third of the way, act."""
    over = threading.Event()

    def post() -> None:
        while not over.is_set() and len(client.accepted) < jobs:
            if not client.post_or_refused():
                over.wait(0.02)

    with ThreadPoolExecutor(CLIENTS) as threads:
        posting = [threads.submit(post) for _ in range(CLIENTS)]
        try:
            until(lambda: len(client.accepted) >= jobs // 3, why="the posts do not get on")
            act()
            until(lambda: len(client.accepted) >= jobs, why="the posts do not get on")
        finally:
            over.set()
        for one in posting:
            one.result()


@pytest.mark.parametrize("whom", ["img-rest", "img-engine", "both"])
def test_a_restart_under_load_is_not_seen_by_clients(
    whom: str, make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    service = make_service()
    client = Client(service, row(f"SIGTERM under load, and a new {whom if whom != 'both' else 'one of both in turn'}"))
    rest, engine = service.start_rest(), service.start_engine()

    def restart() -> None:
        began = time.time()
        if whom != "img-rest":
            assert service.kill(engine, signal.SIGTERM) == 0
            service.launch_engine()
        if whom != "img-engine":
            assert service.kill(rest, signal.SIGTERM) == 0
            service.start_rest()
        client.row.add(rounds=1, recovery=time.time() - began)

    under_load(client, rounds(60, 200), restart)
    until(lambda: not leftovers(service), why="processes are left over")
    unanswered = {job.name for job in all_jobs(service.volume)} - set(client.accepted)
    client.verdict(most_attempts=1)
    assert unanswered == set(), "a job was made and its client was not told"
    if client.broken:  # they had connected, and were not listened to any more; no job was made
        client.row.add(remark=f"{len(client.broken)} connections were closed before their request was read")
