"""Clients of the service that cost little: threads that post a picture, wait, and fetch the result, again and again.

client.py PORT CLIENTS PICTURE. Each line on standard input is a number of seconds; for each, a JSON line on standard
output tells the images that were fetched, the seconds that passed, and the CPU seconds that the clients took.

It is http.client and not img_client, whose httpx2 costs 3.7 ms of CPU for each of these round trips where this costs
1.0: on the cores that the service has to share with it, the difference would be measured as the service's.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Final

_POST: Final = "/resize?width=720&wait=30"
_HEADERS: Final = {"Content-Type": "image/jpeg"}


class WrongAnswerError(Exception):
    """The service did not answer as it should."""


def _one(connection: http.client.HTTPConnection, picture: bytes) -> None:
    connection.request("POST", _POST, picture, _HEADERS)
    posted = connection.getresponse()
    body = posted.read()
    if posted.status != HTTPStatus.SEE_OTHER:
        raise WrongAnswerError(f"{posted.status}: {body[:300]!r}")
    connection.request("GET", posted.headers["Location"])
    fetched = connection.getresponse()
    body = fetched.read()
    if fetched.status != HTTPStatus.OK or not body.startswith(b"\xff\xd8"):
        raise WrongAnswerError(f"{fetched.status}: {body[:300]!r}")


def _client(port: int, picture: bytes, seconds: float) -> int:
    """Images fetched on one connection within so many seconds; the last one may end later."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    deadline = time.monotonic() + seconds
    images = 0
    while time.monotonic() < deadline:
        _one(connection, picture)
        images += 1
    connection.close()
    return images


def main(port: int, clients: int, picture: bytes) -> None:
    """Answer each line."""
    with ThreadPoolExecutor(clients) as threads:
        for line in sys.stdin:
            began, cpu = time.monotonic(), time.process_time()
            seconds = float(line)
            images = sum(threads.map(lambda _: _client(port, picture, seconds), range(clients)))  # noqa: B023
            told = {"images": images, "seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
