"""Both services over a real broker and a real object store."""

from __future__ import annotations

import pytest
from img_testing.cluster import Clients, Cluster

pytestmark = pytest.mark.cluster


def test_a_job_goes_from_any_replica_to_any_engine_and_its_result_comes_back(cluster: Cluster, photo: bytes) -> None:
    replicas = [cluster.start_rest(), cluster.start_rest()]
    for _ in range(2):
        cluster.start_engine()
    clients = Clients(cluster, lambda: replicas)
    for _ in range(20):
        clients.insist(photo, width=200)
    statuses = clients.verdict()
    assert {status.attempt for status in statuses.values()} == {1}
