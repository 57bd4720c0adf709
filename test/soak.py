"""A long run of mixed load with faults at random: what is lost, and whether memory and descriptors stay flat.

make soak MINUTES=30

The first quarter of the time kills and restarts everything. From then on img-rest and one engine run through to the end
and are measured, while a second engine, the children and the disk go on failing and hostile clients go on coming.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
from img_client import Client, ImgError, Refused, Unavailable, Unreachable
from img_contract.http_models import Status
from img_contract.testing import until
from img_testing.service import TOP, Service
from PIL import Image

_T = TypeVar("_T")

CLIENTS = 6
RETENTION_SECONDS = 60
VOLUME_MEGABYTES = 2500
DEADLINE_SECONDS = 120
"""So long after a 202 a job may take to end, faults and all."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class Pictures:
    """What is sent: sound pictures, and those that are not."""

    def __init__(self) -> None:
        photo = (TOP / "photo.jpg").read_bytes()
        noise = Image.effect_noise((640, 480), 60).convert("RGB")
        frames = [Image.new("P", (80, 60), number) for number in range(12)]
        self.sound = [
            photo,
            encoded(noise, "PNG"),
            encoded(noise, "WEBP"),
            encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        ]
        self.poison = encoded(Image.new("RGB", (13, 13)), "PNG")
        """Kills the child that decodes it, by a failpoint."""
        self.corrupt = photo[:20_000]
        self.bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
        self.asks: list[dict[str, Any]] = [
            {"width": 400},
            {"width": "50%", "format": "webp"},
            {"width": 200, "height": 200, "fit": "cover", "format": "auto"},
            {"variants": "320w,160w.webp,thumb:64x64:cover"},
            {"width": 300, "format": "png", "palette": "true"},
        ]


class Soak:
    """The clients, and what they have seen."""

    def __init__(self, service: Service, pictures: Pictures) -> None:
        self.service = service
        self.pictures = pictures
        self.over = threading.Event()
        self.api = Client(service.url, retries=0)
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0

    def client(self, seed: int) -> None:
        chance = random.Random(seed)
        kinds: list[tuple[Callable[[random.Random], None], int]] = [
            (self.sound_picture, 20),
            (lambda _: self.refused_picture(self.pictures.corrupt, "picture_corrupt"), 2),
            (lambda _: self.refused_picture(self.pictures.bomb, "too_many_pixels"), 1),
            (lambda _: self.refused_picture(self.pictures.poison, "attempts_exhausted"), 1),
            (self.cancelled_job, 2),
            (self.repeated_request, 2),
            (self.junk, 2),
            (self.hang_up, 2),
        ]
        while not self.over.is_set():
            (act,) = chance.choices([act for act, _ in kinds], [weight for _, weight in kinds])
            self.over.wait(chance.uniform(0, 0.5))
            try:
                act(chance)
            except Exception as error:  # noqa: BLE001  it is told at the end
                self.wrong.append(f"{getattr(act, '__name__', act)}: {error!r}"[:300])

    # Kinds of clients

    def sound_picture(self, chance: random.Random) -> None:
        job = self.post(chance.choice(self.pictures.sound), **chance.choice(self.pictures.asks))
        status = self.ended(job)
        if status.status != "done":
            self.wrong.append(f"{job}: {status.status} {status.error}")
            return
        for output in status.outputs:
            content = self.retried(partial(self.api.fetch, job, output.name))
            if hashlib.sha256(content).hexdigest() != output.sha256:
                self.wrong.append(f"{job}: {output.name} is not the file that its status tells of")
        self.counts["done"] += 1

    def refused_picture(self, picture: bytes, code: str) -> None:
        status = self.ended(self.post(picture, width=50))
        if status.error is None or status.error.code != code:
            self.wrong.append(f"expected {code}, found {status.status} {status.error}")
        self.counts[f"failed: {code}"] += 1

    def cancelled_job(self, chance: random.Random) -> None:
        job = self.post(chance.choice(self.pictures.sound), width=50)
        self.retried(lambda: self.api.cancel(job))
        self.counts["cancelled"] += 1

    def repeated_request(self, chance: random.Random) -> None:
        picture, key = chance.choice(self.pictures.sound), str(chance.getrandbits(64))
        jobs = {self.post(picture, idempotency_key=key, width=60) for _ in range(3)}
        if len(jobs) != 1:
            self.wrong.append(f"one Idempotency-Key made {len(jobs)} jobs")
        self.ended(jobs.pop())
        self.counts["repeated"] += 1

    def junk(self, chance: random.Random) -> None:
        try:
            self.post(chance.randbytes(5000), width=5)
            self.wrong.append("junk was taken")
        except Refused as error:
            if error.code != "not_a_picture":
                raise
            self.counts["junk refused"] += 1

    def hang_up(self, chance: random.Random) -> None:
        head = b"POST /resize?width=5 HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 500000\r\n\r\n"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.service.port), 5) as line:
            line.sendall(head + self.pictures.sound[0][: chance.randrange(1, 100_000)])
        self.counts["hung up"] += 1

    # A client that comes again, as it is told to

    def retried(self, ask: Callable[[], _T]) -> _T:
        """Ask until there is an answer: more often than the client's own retries, whose number is bounded."""
        while True:
            try:
                return ask()
            except (Unreachable, Unavailable) as error:
                self.counts[f"answered {error.status}" if error.status else "connection refused or broken"] += 1
            if self.over.wait(0.2):
                time.sleep(0.2)  # the last jobs are still looked after

    def post(self, picture: bytes, **parameters: Any) -> str:
        job = self.retried(lambda: self.api.submit(picture, **{"idempotency_key": "", **parameters}))
        self.counts["accepted"] += 1
        return job.id

    def ended(self, job: str) -> Status:
        began = time.monotonic()
        while True:
            try:
                status = self.retried(lambda: self.api.status(job, wait=5))
            except ImgError as error:
                raise AssertionError(f"lost: {job}: {error!r}") from error
            if status.status.final:
                self.slowest = max(self.slowest, time.monotonic() - began)
                return status
            if time.monotonic() - began > DEADLINE_SECONDS:
                raise AssertionError(f"lost: {job}: {status.status}")


class Faults:
    """What goes wrong, one thing after the other."""

    def __init__(self, service: Service, volume: Path, *, full_disk: bool) -> None:
        self.service = service
        self.volume = volume
        self.full_disk = full_disk
        self.counts: collections.Counter[str] = collections.Counter()
        self.first = self.engine()
        self.second = self.engine()

    def engine(self) -> subprocess.Popen[bytes]:
        return self.service.start_engine(IMG_FAILPOINTS="child.decoding@13x13=die")

    def kill_api(self, chance: random.Random) -> None:
        assert self.service.rest
        self.service.kill(self.service.rest, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        self.service.start_rest()

    def kill_first(self, chance: random.Random) -> None:
        self.service.kill(self.first, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        self.first = self.engine()

    def kill_second(self, chance: random.Random) -> None:
        self.service.kill(self.second, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        self.second = self.engine()

    def kill_a_child(self, chance: random.Random) -> None:
        family = psutil.Process(self.first.pid).children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(family).send_signal(chance.choice([signal.SIGKILL, signal.SIGSEGV]))

    def freeze_second(self, _: random.Random) -> None:
        family = [psutil.Process(self.second.pid), *psutil.Process(self.second.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(3)  # past its lease
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def fill_the_disk(self, _: random.Random) -> None:
        if not self.full_disk:
            return
        filler = self.volume / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, psutil.disk_usage(str(self.volume)).free - (64 << 10))
        time.sleep(3)
        filler.unlink(missing_ok=True)

    def go_on(self, kinds: list[Callable[[random.Random], None]], until_time: float, chance: random.Random) -> None:
        while time.monotonic() < until_time:
            fault = chance.choice(kinds)
            fault(chance)
            self.counts[fault.__name__] += 1
            time.sleep(min(chance.uniform(2, 8), max(0.0, until_time - time.monotonic())))


class Measured:
    """Memory and descriptors of one process, taken every second."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.samples: list[tuple[float, float, int]] = []

    def take(self) -> None:
        with self.process.oneshot():
            memory = self.process.memory_info().rss / 1e6
        self.samples.append((time.monotonic(), memory, self.process.num_fds()))

    def told(self, name: str) -> tuple[str, float]:
        """A line of text, and megabytes in ten minutes: the slope of a line through the later half."""
        later = self.samples[len(self.samples) // 2 :]
        slope = statistics.linear_regression([at for at, _, _ in later], [memory for _, memory, _ in later]).slope
        descriptors = [count for _, _, count in self.samples]
        half = len(descriptors) // 2
        line = (
            f"{name}: {self.samples[0][1]:.1f} MB at first, {self.samples[-1][1]:.1f} MB at the end, "
            f"{slope * 600:+.2f} MB in 10 minutes; descriptors {statistics.median(descriptors[:half]):.0f} and "
            f"{statistics.median(descriptors[half:]):.0f} (medians of both halves)"
        )
        return line, slope * 600


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own, that can be filled, if this user may mount one."""
    folder.mkdir()
    options = f"size={VOLUME_MEGABYTES}m"
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "img-soak", folder], capture_output=True, check=False
    ).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=False)


def left_on(volume: Path) -> list[Path]:
    """Jobs, and whatever stands for one."""
    jobs = [job for shard in (volume / "jobs").iterdir() for job in shard.iterdir()]
    return jobs + [path for name in ("pending", "incoming", "idempotency") for path in (volume / name).iterdir()]


def main(minutes: float) -> int:
    chance = random.Random(4)
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "volume") as full_disk:
        service = Service(Path(folder), IMG_RETENTION_SECONDS=str(RETENTION_SECONDS), IMG_ENGINE__JOB_SECONDS="20")
        service.start_rest()
        soak, faults = Soak(service, Pictures()), Faults(service, service.volume, full_disk=full_disk)
        clients = [threading.Thread(target=soak.client, args=(number,)) for number in range(CLIENTS)]
        began = time.monotonic()
        try:
            for client in clients:
                client.start()
            everything = [
                faults.kill_api,
                faults.kill_first,
                faults.kill_second,
                faults.kill_a_child,
                faults.freeze_second,
                faults.fill_the_disk,
            ]
            faults.go_on(everything, began + minutes * 60 / 4, chance)
            assert service.rest
            measured = {
                "img-rest": Measured(psutil.Process(service.rest.pid).children()[0].pid),
                "img-engine": Measured(faults.first.pid),
            }
            elsewhere = [faults.kill_second, faults.kill_a_child, faults.freeze_second, faults.fill_the_disk]
            breaking = threading.Thread(target=faults.go_on, args=(elsewhere, began + minutes * 60, chance))
            breaking.start()
            while breaking.is_alive():
                for one in measured.values():
                    one.take()
                breaking.join(1)
            soak.over.set()
            for client in clients:
                client.join()
            past = time.time() - 4000
            for leftover in [
                *(service.volume / "incoming").rglob("*"),
                *(service.volume / "incoming").iterdir(),
                *(service.volume / "idempotency").iterdir(),
            ]:
                os.utime(leftover, (past, past))  # as if the hour had passed that leftovers are kept
            emptied = time.monotonic()
            until(lambda: not left_on(service.volume), RETENTION_SECONDS + 600, "the volume is not empty")
            emptied = time.monotonic() - emptied
        finally:
            soak.over.set()
            service.stop()
        defects = [line for line in service.log().splitlines() if "_crashed" in line]
    lines, slopes = zip(*(one.told(name) for name, one in measured.items()), strict=True)
    print(
        f"{minutes:g} minutes, {CLIENTS} clients:", ", ".join(f"{what} {count}" for what, count in soak.counts.items())
    )
    print("faults:", ", ".join(f"{what} {count}" for what, count in faults.counts.items()))
    print(f"wrong or lost: {len(soak.wrong)}; slowest job {soak.slowest:.1f} s; defects logged: {len(defects)}")
    print("\n".join(lines))
    print(f"the volume was empty {emptied:.0f} s after the last job ({RETENTION_SECONDS} s retention)")
    print("\n".join([*soak.wrong[:20], *defects[:5]]))
    too_steep = minutes >= 20 and max(slopes) >= 1
    return 1 if soak.wrong or defects or too_steep else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30))
