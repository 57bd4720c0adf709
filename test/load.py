"""1,000 uploads from 16 clients against the whole service: what is lost, how fast it is, what memory it takes.

make load
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from img_testing.service import TOP, Service

UPLOADS = 1000
CLIENTS = 16


def resident(pid: int) -> float:
    """Megabytes of a process and its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in family) / 1e6


def main() -> int:
    photo = (TOP / "photo.jpg").read_bytes()

    def one(service: Service) -> tuple[float, bool]:
        """Post, wait, fetch; how long it took, and whether the file is the one that the status describes."""
        began = time.monotonic()
        job_id = service.post(photo, width=720)
        status = service.client.wait(job_id)
        took = time.monotonic() - began
        digests = [output.sha256 for output in status.outputs]
        return took, bool(digests) and digests[0] == hashlib.sha256(service.fetch(job_id)).hexdigest()

    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        rest, engine = service.start_rest(), service.start_engine()
        try:
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(lambda _: one(service), range(100)))  # warm: every child and thread is up
                before = resident(rest.pid), resident(engine.pid)
                began = time.monotonic()
                results = list(clients.map(lambda _: one(service), range(UPLOADS)))
                elapsed = time.monotonic() - began
            after = resident(rest.pid), resident(engine.pid)
        finally:
            service.stop()
    lost = sum(not whole for _, whole in results)
    times = sorted(took for took, _ in results)
    print(f"{UPLOADS} uploads of {len(photo)} bytes from {CLIENTS} clients, resized to 720 pixels: lost {lost}")
    print(f"{UPLOADS / elapsed:.0f} a second; median {times[UPLOADS // 2]:.2f} s, slowest {times[-1]:.2f} s")
    for name, one_before, one_after in zip(("img-rest", "img-engine"), before, after, strict=True):
        print(f"{name}: {one_before:.0f} MB after 100, {one_after:.0f} MB after {UPLOADS + 100}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
