"""The proof that a store can do what jobs need: above all that of several creations of one object one succeeds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from img_contract.errors import StoreUnavailable
from img_contract.job.job import new_job_id

from img_cluster.bucket import Bucket

PROBES: Final = "probes"

WRITERS: Final = 8
_ROUNDS: Final = 5


def prove(bucket: Bucket) -> None:
    """Prove that objects can be created once, read, listed and removed. Raises StoreError, which says what cannot."""
    name = new_job_id()
    key = f"{PROBES}/{name}"
    try:
        if not bucket.create(key, b"first"):
            raise StoreUnavailable(f"cannot create an object: {key}: the store says that there is one already")
        if bucket.create(key, b"second"):
            raise StoreUnavailable(_not_exclusive(bucket, "the second creation of one object succeeded"))
        if bucket.read(key) != b"first":
            raise StoreUnavailable(f"cannot read an object: {key}: not what was written before")
        if name not in bucket.names(PROBES, after=name[:-1]):
            raise StoreUnavailable(f"cannot list objects: {key} was written, and is not listed")
    finally:
        bucket.delete([key])
    if bucket.exists(key):
        raise StoreUnavailable(f"cannot remove an object: {key} is still there")


def race(buckets: Sequence[Bucket]) -> list[int]:
    """Let many writers create the same object, spread over all ways to the store; return how many won in each round.

    A store is good if in every round one did. Raises StoreError.
    """
    winners = []
    with ThreadPoolExecutor(WRITERS) as threads:
        for _ in range(_ROUNDS):
            key, barrier = f"{PROBES}/{new_job_id()}", threading.Barrier(WRITERS)

            def create(number: int, key: str = key, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                return buckets[number % len(buckets)].create(key, b"writer %d" % number)

            try:
                winners.append(sum(threads.map(create, range(WRITERS))))
            finally:
                buckets[0].delete([key])
    return winners


def _not_exclusive(bucket: Bucket, what: str) -> str:
    return (
        f"cannot use the store: {bucket.name}: {what}; it does not honour If-None-Match: *, without which a job could "
        "get two outcomes. SeaweedFS, Ceph RGW, AWS S3 and R2 do; docs/cluster.md has the versions that were tried"
    )
