"""Clients of a server that cost little: threads that ask for pictures on a connection of their own, again and again.

Each line on standard input has `plan`, `port`, `clients` and `seconds`; the JSON line that answers it tells how many
plans were done, how many a second, the milliseconds that each took, and the CPU seconds of the clients.

It is http.client and not img_client, whose httpx2 costs 3.7 ms of CPU for a round trip where this costs 1.0: on the
cores that a server has to share with it, the difference would be measured as the server's.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

_HOST: Final = "127.0.0.1"
_JPEG: Final = b"\xff\xd8"
_TIMEOUT: Final = 60.0


class WrongAnswerError(Exception):
    """A server did not answer as it should."""


@dataclass(frozen=True)
class Plan:
    """What a client asks a server for, one request after the other: one picture in one size, or in several."""

    paths: tuple[str, ...]
    upload: str = ""
    """The file to post to each path; without one, it is a GET."""
    names: tuple[str, ...] = ()
    """Further results, each to be fetched below the address that the first answer gives."""


def connect(port: int) -> HTTPConnection:
    """Return a connection that is kept alive."""
    return HTTPConnection(_HOST, port, timeout=_TIMEOUT)


def follow(connection: HTTPConnection, plan: Plan, upload: bytes) -> list[bytes]:
    """Do a plan once and return its pictures. Raises WrongAnswerError."""
    pictures = []
    for path in plan.paths:
        address, picture = _post(connection, path, upload) if plan.upload else (path, _get(connection, path))
        pictures += [picture, *(_get(connection, f"{address}/{name}") for name in plan.names)]
    return pictures


def _post(connection: HTTPConnection, path: str, upload: bytes) -> tuple[str, bytes]:
    """Return the result's address and the result, fetched from there where the answer is not the picture itself."""
    connection.request("POST", path, upload, {"Content-Type": "image/jpeg", "Accept": "image/jpeg"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status == HTTPStatus.SEE_OTHER:
        address = answer.headers["Location"]
        return address, _get(connection, address)
    return answer.headers.get("Content-Location", path), _checked(answer.status, body)


def _get(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path, headers={"Accept": "image/jpeg"})
    answer = connection.getresponse()
    return _checked(answer.status, answer.read())


def _checked(status: int, body: bytes) -> bytes:
    if status != HTTPStatus.OK or not body.startswith(_JPEG):
        raise WrongAnswerError(f"expected 200 with a JPEG, found {status}: {body[:300]!r}")
    return body


def _client(port: int, plan: Plan, upload: bytes, seconds: float) -> tuple[list[float], float]:
    """Milliseconds of each plan that began within so many seconds, and the seconds that they took together."""
    connection = connect(port)
    took = []
    now = began = time.perf_counter()
    while now < began + seconds:
        follow(connection, plan, upload)
        before, now = now, time.perf_counter()
        took.append((now - before) * 1000)
    connection.close()
    return took, now - began


def _load(threads: ThreadPoolExecutor, clients: int, port: int, plan: Plan, seconds: float) -> dict[str, Any]:
    upload = Path(plan.upload).read_bytes() if plan.upload else b""
    cpu = time.process_time()
    done = list(threads.map(lambda _: _client(port, plan, upload, seconds), range(clients)))
    return {
        "done": sum(len(took) for took, _ in done),
        "rate": sum(len(took) / passed for took, passed in done),  # of each until its own last answer
        "ms": [round(each, 2) for took, _ in done for each in took],
        "cpu": time.process_time() - cpu,
    }


def main() -> None:
    """Answer each line."""
    with ThreadPoolExecutor(64) as threads:
        for line in sys.stdin:
            asked = json.loads(line)
            plan = Plan(**asked.pop("plan"))
            try:
                answer = _load(threads, plan=plan, **asked)
            except (WrongAnswerError, OSError, HTTPException) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
