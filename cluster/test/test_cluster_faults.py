"""Every part is killed, cut off or loses what it has, under clients: no 202 is lost, and each gets its one outcome."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from img_cluster.local import Broker, ObjectStore
from img_contract.job.outcome import FailureCode, State
from img_contract.testing import until
from img_testing.cluster import Clients, Cluster, Replica
from img_testing.witness import FULL, picture, rounds

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

ENGINE_POINTS = (
    "job.received",
    "claim.taken",
    "child.encoded",
    "publish.starting",
    "publish.renamed",
    "outcome.written",
)
API_POINTS = ("submission.flushed", "submission.recorded", "submission.renamed", "notifier.notified", "answer.ready")
POISON = picture(13, 13)

Figure = Callable[[str, str], None]


@contextmanager
def under_load(clients: Clients, threads: int = 8, **parameters: Any) -> Iterator[None]:
    """Clients that post all the time, each again when it was answered."""
    over = threading.Event()

    def post() -> None:
        while not over.is_set():
            clients.post(**parameters)
            over.wait(0.2)  # the machine has others to serve

    with ThreadPoolExecutor(threads) as pool:
        posting = [pool.submit(post) for _ in range(threads)]
        try:
            yield
        finally:
            over.set()
        for one in posting:
            one.result()


def accepts(clients: Clients) -> None:
    """Wait until the service takes a job again."""
    clients.insist()


def told(statuses: dict[str, Any], rounds: int, clients: Clients) -> str:
    again = sum(status.attempt - 1 for status in statuses.values() if status.attempt > 1)
    return f"{rounds} rounds, {len(statuses)} jobs, lost 0, {again} further attempts, refused {dict(clients.refused)}"


def test_engines_killed_in_the_middle_of_jobs_lose_nothing(cluster: Cluster, figure: Figure) -> None:
    """Each engine does again what the one before it left, and dies of a job after that."""
    cluster.set(IMG_ENGINE__ATTEMPTS="50")
    replica = cluster.start_rest()
    clients = Clients(cluster, lambda: [replica])
    count = rounds(len(ENGINE_POINTS), 200)
    for number, point in zip(range(count), itertools.cycle(ENGINE_POINTS), strict=False):
        nth = "" if number == 0 else "#2"
        engine = cluster.start_engine(IMG_FAILPOINTS=f"{point}{nth}=kill")
        while engine.poll() is None:
            clients.status(clients.insist(), wait=0.3)
        assert engine.wait() == -signal.SIGKILL
    cluster.start_engine()
    figure("kill -9 of an engine in mid-job", told(clients.verdict(most_attempts=50), count, clients))


def test_an_api_killed_at_each_step_of_a_submission_loses_nothing(cluster: Cluster, figure: Figure) -> None:
    cluster.set(IMG_QUEUE__LOST_SECONDS="3")
    healthy = cluster.start_rest()
    cluster.start_engine()
    clients = Clients(cluster, lambda: [healthy])
    unanswered = 0
    for point in API_POINTS * rounds(1, 4):
        dying = cluster.start_rest(IMG_FAILPOINTS=f"{point}=kill")
        doomed = Clients(cluster, lambda dying=dying: [dying])  # type: ignore[misc]
        assert doomed.post() is None
        unanswered += 1
        until(lambda dying=dying: dying.process.poll() is not None, why="it survived")  # type: ignore[misc]
        clients.insist()
    # A job that exists, and whose client got no answer, is done all the same, since its marker is there.
    found = told(clients.verdict(), len(API_POINTS) * rounds(1, 4), clients)
    figure("kill -9 of img-rest at each step of a commit", f"{found}; {unanswered} clients got no answer")


def own_parts(folder: Path) -> tuple[ObjectStore, Broker]:
    return ObjectStore(folder / "own-store"), Broker(folder / "own-broker")


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with a broker and a store of its own, which may be killed."""
    store, broker = own_parts(tmp_path)
    cluster = None
    try:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda part: part.start(), (store, broker)))
        cluster = Cluster(
            store,
            broker,
            tmp_path,
            IMG_QUEUE__LOST_SECONDS="4",
            IMG_STORE__TIMEOUT_SECONDS="5",
            IMG_QUEUE__TIMEOUT_SECONDS="5",
            IMG_ENGINE__ATTEMPTS="50",
        )
        yield cluster
    finally:
        if cluster:
            cluster.kill_all()
        store.kill()
        broker.kill()
        broker.stop()


def test_broker_and_store_killed_under_clients_lose_nothing(mortal: Cluster, figure: Figure) -> None:
    """And what waited when the broker lost its disk is delivered from the store."""
    cluster = mortal
    replicas = [cluster.start_rest(), cluster.start_rest()]
    clients = Clients(cluster, lambda: replicas)
    # The queue is purged, then deleted, then its disk is lost, before there is an engine.
    waiting = rounds(20, 500)
    lost_at = {}
    for loss in ("queue purged", "queue deleted", "the broker's disk lost"):
        for _ in range(waiting):
            clients.insist()
        match loss:
            case "queue purged":
                cluster.broker.ctl("purge_queue", cluster.queue)
            case "queue deleted":
                cluster.broker.ctl("delete_queue", cluster.queue)
            case _:
                cluster.broker.kill()
                cluster.broker.forget()
                cluster.broker.start()
                accepts(clients)
        lost_at[loss] = time.monotonic()
    engine = cluster.start_engine()
    statuses = clients.verdict(most_attempts=50)
    assert cluster.events("jobs_sent_again")
    figure("queue purged, queue deleted, disk of the broker lost, each with jobs waiting", told(statuses, 3, clients))

    clients = Clients(cluster, lambda: replicas)
    kills = rounds(1, 10), rounds(1, 5)
    with under_load(clients):
        parts: tuple[Broker | ObjectStore, ...] = (cluster.broker, cluster.store)
        for part, count in zip(parts, kills, strict=True):
            for _ in range(count):
                until(lambda: clients.post() is not None, why="no post is taken")
                part.kill()
                clients.post()
                part.start()
                accepts(clients)
    statuses = clients.verdict(most_attempts=50)
    assert engine.poll() is None
    figure(f"kill -9 of the broker {kills[0]} × and of the store {kills[1]} ×", told(statuses, sum(kills), clients))

    # The store answers nothing for a while: refused with 503, no attempt charged, and it heals by itself.
    clients = Clients(cluster, lambda: replicas)
    os.kill(cluster.store.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda _: clients.post(), range(4))) == {None}
    finally:
        os.kill(cluster.store.pid, signal.SIGCONT)
    assert set(clients.refused) <= {"store_unavailable", "volume_unavailable"}, clients.refused
    accepts(clients)
    assert {status.attempt for status in clients.verdict().values()} == {1}
    figure(
        "the store answers nothing", f"{clients.refused.total()} refused with 503 and Retry-After, no attempt charged"
    )


def test_a_picture_that_kills_its_child_or_its_engine_fails_after_three_attempts(
    cluster: Cluster, figure: Figure
) -> None:
    replica = cluster.start_rest()
    clients = Clients(cluster, lambda: [replica])
    cluster.start_engine(IMG_FAILPOINTS="child.decoding@13x13=die")
    poison = clients.insist(POISON, width=8)
    others = [clients.insist() for _ in range(10)]
    statuses = clients.verdict(ends=("done", "failed"))
    assert {statuses[job_id].status for job_id in others} == {State.DONE}
    assert (statuses[poison].status, statuses[poison].attempt) == (State.FAILED, 3)
    assert statuses[poison].error.code == FailureCode.ATTEMPTS_EXHAUSTED
    cluster.kill_engines()

    poison = clients.insist(POISON, width=8)
    for _ in range(3):
        engine = cluster.start_engine(IMG_FAILPOINTS="child.decoding@13x13=kill")
        until(lambda engine=engine: engine.poll() is not None, why="it survived")  # type: ignore[misc]
    cluster.start_engine(IMG_FAILPOINTS="child.decoding@13x13=kill")
    clients.insist()
    statuses = clients.verdict(ends=("done", "failed"))
    assert (statuses[poison].status, statuses[poison].attempt) == (State.FAILED, 3)
    figure("a picture that kills its child; one that kills its engine", "failed after 3 attempts; others done in 1")


def test_a_job_that_is_delivered_five_times_is_rendered_once(cluster: Cluster, figure: Figure) -> None:
    from img_cluster.celery_app import make_app
    from img_cluster.sending import CeleryDeliveries
    from img_contract.cluster_config import QueueConfig

    replica = cluster.start_rest()
    clients = Clients(cluster, lambda: [replica])
    config = QueueConfig.model_validate({"kind": "celery", "broker": cluster.broker.url, "name": cluster.queue})
    deliveries = CeleryDeliveries(make_app(config), config)
    for _ in range(rounds(5, 50)):
        job_id = clients.insist()
        for _ in range(4):
            deliveries.send(job_id)
    deliveries.close()
    for _ in range(2):
        cluster.start_engine()
    statuses = clients.verdict()
    claims = [event["id"] for event in cluster.events("job_claimed")]
    assert sorted(claims) == sorted(statuses)
    figure("each message five times", f"{len(statuses)} jobs, {len(claims)} rendered, all once")


def test_every_part_is_restarted_in_turn_and_no_client_that_retries_sees_an_error(
    cluster: Cluster, figure: Figure
) -> None:
    replicas = {number: cluster.start_rest() for number in range(2)}
    engines = {number: cluster.start_engine() for number in range(2)}
    serving = list(replicas.values())

    def those() -> list[Replica]:
        return list(serving)

    clients = Clients(cluster, those)
    with under_load(clients, threads=4):
        for _ in range(rounds(1, 5)):
            for number, engine in list(engines.items()):
                assert cluster.kill(engine, signal.SIGTERM) == 0
                engines[number] = cluster.start_engine()
            for number, stopping in list(replicas.items()):
                serving.remove(stopping)  # a balancer takes it out before it is stopped, as Kubernetes does
                assert cluster.kill(stopping.process, signal.SIGTERM) in (0, -signal.SIGTERM)
                replicas[number] = cluster.start_rest()
                serving.append(replicas[number])
    statuses = clients.verdict()
    assert {status.attempt for status in statuses.values()} == {1}
    figure("rolling restart of every part", told(statuses, rounds(1, 5), clients))


def test_a_full_disk_of_a_scratch_folder_refuses_and_charges_nothing(cluster: Cluster, figure: Figure) -> None:
    small = cluster.scratch / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk that is full needs the right to mount one")
    try:
        filler = small / "filler"
        filler.write_bytes(bytes(4 * 1024 * 1024 - 4096 * 16))
        replica = cluster.start_rest(TMPDIR=str(small))
        healthy = cluster.start_rest()
        clients = Clients(cluster, lambda: [replica])
        large = bytes(random.Random(1).randbytes(2 * 1024 * 1024))  # more than is kept in memory
        assert clients.post(b"\xff\xd8\xff\xe0" + large, width=8) is None
        assert clients.refused.total() == 1
        cluster.start_engine(TMPDIR=str(small))
        others = Clients(cluster, lambda: [healthy])
        job_id = others.insist(_large_picture())
        until(lambda: cluster.events("store_fault"), why="the full disk was not met")
        filler.unlink()
        assert others.ended(job_id).attempt == 1
        clients.accepted.append(clients.insist())
        clients.accepted.pop()
        clients.verdict()
        others.verdict()
        figure("disk of a scratch folder full", "upload refused with 503; no attempt charged; heals by itself")
        cluster.kill_all()
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def _large_picture() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((800, 800), 90).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@contextmanager
def held_to(cores: float, number: int) -> Iterator[tuple[str, ...]]:
    """What a command begins with that may use so much of a core, by a control group of its own."""
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")  # version 1, version 2
    group = (first if first.is_dir() else second) / f"img-{os.getpid()}-{number}"
    try:
        group.mkdir()
        if first.is_dir():
            (group / "cpu.cfs_quota_us").write_text(str(round(100_000 * cores)))
        else:
            (group / "cpu.max").write_text(f"{round(100_000 * cores)} 100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield "sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), why="its processes live on")
        group.rmdir()


@pytest.mark.skipif(not FULL, reason="a figure: FAULTS=full")
def test_further_engines_take_their_share(cluster: Cluster, figure: Figure, photo: bytes) -> None:
    """Each engine is held to a share of a core, so that one machine stands for several."""
    replica = cluster.start_rest()
    rates = []
    with ExitStack() as cleaning:
        commands = [cleaning.enter_context(held_to(0.25, number)) for number in range(3)]
        cleaning.callback(cluster.kill_all)
        for count, command in enumerate(commands, 1):
            cluster.start_engine(*command)
            clients = Clients(cluster, lambda: [replica])
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(lambda _, clients=clients: clients.insist(photo, width=800), range(30 * count)))
            ended = [one.finished_at.timestamp() for one in clients.verdict().values()]
            rates.append((len(ended) - 1) / (max(ended) - min(ended)))
    told = ", ".join(f"{rate:.1f}" for rate in rates)
    figure("1, 2, 3 engines, each held to a quarter of a core", f"{told} pictures a second")
