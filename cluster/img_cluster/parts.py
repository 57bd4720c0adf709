"""Putting the parts together, for the commands of both services."""

from __future__ import annotations

from img_contract.cluster_config import StoreConfig
from img_contract.config import Config
from img_contract.errors import ConfigError, StoreError

from img_cluster.bucket import Bucket, open_bucket
from img_cluster.celery_app import log_libraries, make_app
from img_cluster.consumer import CeleryWork
from img_cluster.engines import Engines
from img_cluster.jobs import ClusterJobs
from img_cluster.notices import NoticesIn, NoticesOut
from img_cluster.objects import JobsStore
from img_cluster.proof import WRITERS, prove, race
from img_cluster.retries import BrokerRetries
from img_cluster.sending import CeleryDeliveries
from img_cluster.work import ClusterWork

_MARGIN_SECONDS = 30.0
"""Bringing files here and back, beside the time of the child."""


def prove_store(config: StoreConfig) -> None:
    """Prove that the store can do what jobs need. Raises StoreError, which says what it cannot do."""
    prove(open_bucket(config))


def engines_alive(config: Config) -> list[str]:
    """Name the engines that are alive. Raises StoreError."""
    return Engines(_bucket(config)).names()


def race_store(config: Config, endpoints: list[str]) -> str:
    """Race writers through every endpoint, the configured one first; return what was found. Raises StoreError."""
    first = _store(config)
    stores = [first, *(first.model_copy(update={"endpoint": one}) for one in endpoints)]
    buckets = [open_bucket(store) for store in stores]
    for bucket in buckets:
        prove(bucket)
    winners = race(buckets)
    if set(winners) != {1}:
        raise StoreError(
            f"cannot use the store {first.bucket}: of writers that created one object at the same time, "
            f"{', '.join(map(str, winners))} succeeded, not one each time; a job could get two outcomes"
        )
    return (
        f"{first.bucket}: everything that jobs need of a store can be done, and of {WRITERS} writers at once, "
        f"through {len(buckets)} endpoint(s), one succeeded, {len(winners)} times out of {len(winners)}"
    )


def cluster_jobs(config: Config) -> ClusterJobs:
    """Build the client's side, which listens for notices from now on."""
    store, queue = config.store, config.queue
    assert store is not None  # noqa: S101  the caller has looked
    assert queue is not None  # noqa: S101  the configuration has both or neither
    log_libraries()
    app = make_app(queue)
    jobs = ClusterJobs(
        JobsStore(open_bucket(store)),
        CeleryDeliveries(app, queue),
        NoticesOut(app, queue),
        config.retention_seconds,
        redirect=store.redirect,
    )
    NoticesIn(app, queue, jobs.endings.heard).start()
    return jobs


def cluster_work(config: Config, engine: str, slots: int, version: str) -> CeleryWork:
    """Build the engine's side; it takes messages from now on."""
    queue = config.queue
    assert queue is not None  # noqa: S101  the caller has looked
    log_libraries()
    app = make_app(queue)
    retries = BrokerRetries(app, queue)
    work = ClusterWork(
        JobsStore(_bucket(config)),
        CeleryDeliveries(app, queue),
        NoticesOut(app, queue),
        retries,
        engine,
        attempts=config.engine.attempts,
        longest_attempt_seconds=config.engine.job_seconds + _MARGIN_SECONDS,
        lost_seconds=queue.lost_seconds,
        retention_seconds=config.retention_seconds,
        version=version,
    )
    celery = CeleryWork(app, queue, work, retries, engine, slots)
    celery.start()
    return celery


def _bucket(config: Config) -> Bucket:
    return open_bucket(_store(config))


def _store(config: Config) -> StoreConfig:
    if config.store is None:
        raise ConfigError(["store: expected the section of an object store, found none"])
    return config.store
