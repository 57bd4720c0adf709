"""Every part is killed, cut off or loses what it has, under clients: no 202 is lost, and each gets its one outcome."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from img_client import ImgError, Unreachable
from img_cluster.local import Broker, ObjectStore
from img_contract.job.outcome import FailureCode, State
from img_contract.testing import until
from img_testing.cluster import Clients, Cluster, Figure, Replica
from img_testing.witness import FULL, TINY, picture, rounds
from PIL import Image

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


def test_an_api_killed_at_each_step_of_a_commit_makes_one_job_of_each_key(cluster: Cluster, figure: Figure) -> None:
    """Clients send to it at the same time, each with a key of its own, and then send the same to another replica."""
    cluster.set(IMG_QUEUE__LOST_SECONDS="3")
    healthy = cluster.start_rest()
    cluster.start_engine()
    count, senders = rounds(1, 20), 8
    answered: dict[str, str | None] = {}
    for number in range(count):
        # Some have their answers when it dies, others are on their way.
        nth = (number + senders // 2) % senders + 1
        specs = [f"{point}#{nth}=kill" for point in API_POINTS]
        with ThreadPoolExecutor(senders) as threads:
            dying = list(threads.map(lambda spec: cluster.start_rest(IMG_FAILPOINTS=spec), specs))
            for point, replica in zip(API_POINTS, dying, strict=True):
                keys = [f"{point}-{number}-{sender}" for sender in range(senders)]
                sent = partial(_submit_under, replica=replica)
                answered |= zip(keys, threads.map(sent, keys), strict=True)
                until(lambda replica=replica: replica.process.poll() is not None, why="it survived")  # type: ignore[misc]
    with ThreadPoolExecutor(senders) as threads:
        again = dict(zip(answered, threads.map(lambda key: _insist_under(key, healthy), answered), strict=True))
    assert [key for key, job_id in answered.items() if job_id and again[key] != job_id] == []
    clients = Clients(cluster, lambda: [healthy], [job_id for job_id in again.values() if job_id])
    assert len(clients.accepted) > len(answered) / 2
    found = told(clients.verdict(), count * len(API_POINTS), clients)
    made = [name for name in cluster.jobs.bucket.names("jobs", most=10**6) if name.endswith("/job.json")]
    assert len(made) == len(clients.accepted), "a key made two jobs, or a job that nobody was told of"
    unanswered = sum(job_id is None for job_id in answered.values())
    figure(
        f"kill -9 of img-rest {count} × at each of five steps of a commit, 8 clients with Idempotency-Keys",
        f"{found}; {unanswered} of {len(answered)} got no answer, sent again, and have one job each",
    )


def _submit_under(key: str, replica: Replica) -> str | None:
    """Send a picture once; None if there was no answer, or another request with this key is under way."""
    try:
        return replica.client.submit(TINY, width=16, idempotency_key=key).id
    except ImgError as error:
        if not isinstance(error, Unreachable) and getattr(error, "status", None) != 409:
            raise
        return None


def _insist_under(key: str, replica: Replica) -> str | None:
    """Send it until it is taken. A key that a dead replica recorded last is free after a minute: too long in short."""
    while not (job_id := _submit_under(key, replica)) and FULL:
        time.sleep(1)  # what Retry-After says
    return job_id


@pytest.fixture
def mortal(store_server: ObjectStore, broker_server: Broker, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that is told soon of a broker and a store that are gone."""
    cluster = Cluster(
        store_server,
        broker_server,
        tmp_path,
        IMG_QUEUE__LOST_SECONDS="4",
        IMG_STORE__TIMEOUT_SECONDS="3",
        IMG_QUEUE__TIMEOUT_SECONDS="5",
        IMG_ENGINE__ATTEMPTS="50",
    )
    try:
        yield cluster
    finally:
        cluster.kill_all()


def test_jobs_whose_messages_the_broker_loses_are_done_all_the_same(mortal: Cluster, figure: Figure) -> None:
    """The queue is purged, then deleted, then the broker is killed and its disk lost, before there is an engine."""
    replica = mortal.start_rest()
    clients = Clients(mortal, lambda: [replica])
    waiting = rounds(5, 500)

    def post_some() -> None:
        for _ in range(waiting):
            clients.insist()

    post_some()
    mortal.broker.ctl("purge_queue", mortal.queue)
    post_some()
    mortal.broker.ctl("delete_queue", mortal.queue)
    post_some()
    mortal.broker.kill()
    mortal.broker.forget()
    assert clients.post() is None
    mortal.broker.start()
    accepts(clients)
    mortal.start_engine()
    statuses = clients.verdict(most_attempts=50)
    assert mortal.events("jobs_sent_again")
    figure(
        f"queue purged, queue deleted, disk of the broker lost, with {waiting} jobs waiting each time",
        told(statuses, 3, clients),
    )


def test_broker_and_store_killed_under_clients_lose_nothing(mortal: Cluster, figure: Figure) -> None:
    replicas = [mortal.start_rest(), mortal.start_rest()]
    engine = mortal.start_engine()
    parts: list[tuple[str, Broker | ObjectStore, int]] = [
        ("broker", mortal.broker, rounds(0, 10)),  # the broker is killed above, too, and takes long to start
        ("store", mortal.store, rounds(1, 5)),
    ]
    for name, part, count in parts:
        clients = Clients(mortal, lambda: replicas)
        with under_load(clients):
            for _ in range(count):
                until(lambda clients=clients: clients.post() is not None, why="no post is taken")  # type: ignore[misc]
                part.kill()
                clients.post()
                part.start()
                accepts(clients)
        if count:
            statuses = clients.verdict(most_attempts=50)
            figure(f"kill -9 of the {name} {count} ×, under 8 clients", told(statuses, count, clients))
    assert engine.poll() is None


def test_a_store_that_answers_nothing_is_told_with_503_and_costs_no_attempt(mortal: Cluster, figure: Figure) -> None:
    replica = mortal.start_rest()
    mortal.start_engine()
    clients = Clients(mortal, lambda: [replica])
    os.kill(mortal.store.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda _: clients.post(), range(4))) == {None}
    finally:
        os.kill(mortal.store.pid, signal.SIGCONT)
    assert set(clients.refused) == {"volume_unavailable"}
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
    filler, size = small / "filler", 4 * 1024 * 1024

    def leave(room: int) -> None:
        filler.write_bytes(bytes(size - room))

    try:
        leave(64 * 1024)
        replica = cluster.start_rest(TMPDIR=str(small))
        healthy = cluster.start_rest()
        clients, others = Clients(cluster, lambda: [replica]), Clients(cluster, lambda: [healthy])
        large = _noise(1200)  # more than is kept in memory
        assert clients.post(large, width=8) is None
        assert set(clients.refused) == {"volume_unavailable"}
        cluster.start_engine(TMPDIR=str(small))
        job_id = others.insist(_noise(800), width=1600, enlarge="true", format="png")
        until(lambda: cluster.events("store_fault"), why="the upload was brought to a full disk")
        leave(1024 * 1024)
        met = len(cluster.events("store_fault"))
        until(lambda: len(cluster.events("store_fault")) > met + 1, why="the result was written to a full disk")
        filler.unlink()
        assert others.ended(job_id).attempt == 1
        clients.insist(large, width=8)
        clients.verdict(most_attempts=1)
        others.verdict(most_attempts=1)
        figure("disk of a scratch folder full", "upload refused with 503; no attempt charged; heals by itself")
        cluster.kill_all()
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def _noise(side: int) -> bytes:
    """A square picture of one byte a pixel, which nothing makes smaller."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 90).save(buffer, "PNG", compress_level=0)
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


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes and of all that they have started and that lives."""
    everyone = {one for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))}
    return sum(one.cpu_times().user + one.cpu_times().system for one in everyone)


SHARE = 0.2
"""Of a core, for each engine: three of them leave the larger part of two cores to everything else."""


@pytest.mark.skipif(not FULL, reason="a figure: FAULTS=full")
def test_further_engines_take_their_share(cluster: Cluster, figure: Figure, photo: bytes) -> None:
    """Each engine is held to a share of a core, so that one machine stands for several.

    On a machine that others use, engines do not get their shares. So what they make of what they got is told, too.
    """
    replica = cluster.start_rest()
    rates, got, engines = [], [], []
    used: Counter[str] = Counter()
    with ExitStack() as cleaning:
        commands = [cleaning.enter_context(held_to(SHARE, number)) for number in range(3)]
        cleaning.callback(cluster.kill_all)
        for command in commands:
            engines.append(cluster.start_engine(*command).pid)
            clients = Clients(cluster, lambda: [replica])
            for _ in range(4 * len(engines)):  # until each has its children
                clients.insist(photo, width=800)
            clients.verdict()
            clients.accepted.clear()
            parts = {"engine": engines, "img-rest": [replica.process.pid]}
            parts |= {"broker": [cluster.broker.pid], "store": [cluster.store.pid]}
            before = {name: cpu_seconds(pids) for name, pids in parts.items()}
            with ThreadPoolExecutor(8) as threads:
                jobs = range(60 * len(engines))
                list(threads.map(lambda _, clients=clients: clients.insist(photo, width=800), jobs))
            statuses = [clients.ended(job_id) for job_id in clients.accepted]
            spent = {name: cpu_seconds(pids) - before[name] for name, pids in parts.items()}
            used.update({**spent, "image": len(statuses)})
            got.append(len(statuses) / spent["engine"])
            ended = [one.finished_at.timestamp() for one in statuses]
            rates.append((len(ended) - 1) / (max(ended) - min(ended)))
    linear = ", ".join(f"{rate / rates[0] / count:.2f}" for count, rate in enumerate(rates, 1))
    efficient = ", ".join(f"{one / got[0]:.2f}" for one in got)
    each = ", ".join(f"{name} {1000 * used[name] / used['image']:.1f}" for name in parts)
    figure(
        f"1, 2, 3 engines, each held to {SHARE} of a core",
        f"{', '.join(f'{rate:.1f}' for rate in rates)} pictures a second, {linear} of linear; "
        f"pictures a second of their CPU, of the first's: {efficient}; CPU ms an image: {each}",
    )
