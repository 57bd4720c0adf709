"""From granian's RSGI to a WSGI application: the network is waited for here, so that no thread of the application is.

WSGI has no word for time. Here a body that comes too slowly ends with `UploadTooSlow`, a file goes out without a thread
behind it, and a request that waits can learn that its client has hung up.

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md; WSGI: PEP 3333.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

import structlog
from werkzeug.wsgi import FileWrapper

from img_rest.errors import UploadTooSlow

_CLIENT_GONE: Final = "img_rest.client_gone"

_PORTION: Final = 256 * 1024
"""A thread that waits for a body is woken when so many bytes are there."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/\d+")

log = structlog.get_logger(__name__)

Headers = list[tuple[str, str]]


def client_gone(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Whom to ask, as often as you like, whether the client of this request has hung up."""
    gone: Callable[[], bool] = environ.get(_CLIENT_GONE, lambda: False)
    return gone


@dataclass(frozen=True)
class Floor:
    """The slowest upload that is taken."""

    bytes_per_second: float
    seconds: float
    """An upload is judged after each such time of waiting, by what came in it: a fast beginning buys nothing."""

    def check(self, received: int, seconds: float) -> None:
        """Raise UploadTooSlow if so few bytes came in so many seconds of waiting."""
        if received < seconds * self.bytes_per_second:
            raise UploadTooSlow(
                f"expected at least {self.bytes_per_second:g} bytes a second, found {received} in {seconds:.0f} seconds"
            )


class Body:
    """A request's body on its way from the event loop to the thread that reads it: `wsgi.input`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, floor: Floor) -> None:
        self._loop = loop
        self._protocol = protocol
        self._floor = floor
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._wanted = 0
        """Bytes that a thread waits for; 0 if none does."""
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()

    async def feed(self) -> None:
        """Take what comes, a portion ahead of the reader, until the body ends or this task is cancelled."""
        try:
            async for chunk in self._protocol:
                with self._changed:
                    self._chunks.append(chunk)
                    self._held += len(chunk)
                    if self._wanted and self._held >= self._wanted:
                        self._changed.notify()
                    if self._held < _PORTION:
                        continue
                    self._room.clear()
                await self._room.wait()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def read(self, size: int = -1, until: float = math.inf) -> bytes:
        """Give the next bytes, at most `size`; none at the end. At `until`, a time.monotonic(), what there is then.

        Raises UploadTooSlow.
        """
        most = _PORTION if size < 0 else min(size, _PORTION)
        with self._changed:
            before = self._held
            began = now = time.monotonic()
            self._wanted = most
            while self._held < most and not self._ended and now < until:
                self._changed.wait(timeout=min(1.0, until - now))
                now = time.monotonic()
                if self._held < most and now - began >= self._floor.seconds:
                    self._floor.check(self._held - before, now - began)
                    before, began = self._held, now
            self._wanted = 0
            taken = self._take(most)
            if self._held < _PORTION and not self._room.is_set():
                self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def forget(self) -> None:
        """The request is answered.

        Granian ends the connection over an unread body only once nobody holds its protocol, and this object may stay
        until the garbage is collected: Werkzeug's request and its environment refer to each other.
        """
        self._protocol = None

    def _take(self, most: int) -> bytes:
        parts: list[bytes] = []
        while most and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > most:
                self._chunks.appendleft(chunk[most:])
                chunk = chunk[:most]
            parts.append(chunk)
            most -= len(chunk)
            self._held -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Client:
    """Whether the client is still there, watched from the first time that somebody asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        self._loop = loop
        self._protocol = protocol
        self._asked = self._gone = False
        self._watch: asyncio.Task[None] | None = None

    def gone(self) -> bool:
        """Whether it has hung up. Costs nothing until it is called."""
        if not self._asked:
            self._asked = True
            self._loop.call_soon_threadsafe(self._start)
        return self._gone

    def forget(self) -> None:
        """The request is answered; for the rest see Body.forget."""
        self._protocol = None
        if self._watch is not None:
            self._watch.cancel()

    def _start(self) -> None:
        if self._protocol is not None:
            self._watch = self._loop.create_task(self._follow())

    async def _follow(self) -> None:
        await self._protocol.client_disconnect()
        self._gone = True


@dataclass
class _Answer:
    status: int
    headers: Headers
    body: bytes = b""
    file: str | None = None
    """The path of a file that is the body, or that the part named in Content-Range is of."""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def length(self) -> int:
        """Bytes of its body, by Content-Length."""
        return int(self.header("Content-Length") or 0)


class _Content:
    """What a WSGI application returned, which may or may not have a `close`."""

    def __init__(self, iterable: Iterable[bytes]) -> None:
        self._iterable = iterable

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._iterable)

    def close(self) -> None:
        if hasattr(self._iterable, "close"):
            self._iterable.close()


class Gateway:
    """An RSGI application that has each request answered by a WSGI application, in one of so many threads."""

    def __init__(
        self, application: Callable[..., Iterable[bytes]], threads: int, floor: Floor, send_timeout_seconds: float
    ) -> None:
        self._application = application
        self._floor = floor
        self._send_timeout_seconds = send_timeout_seconds
        self._connections_limited = False
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if (
            not self._connections_limited
        ):  # at the first, as granian begins to listen after it has called us at its start
            self._connections_limited = True
            set_send_timeout(self._send_timeout_seconds)
        loop = asyncio.get_running_loop()
        environ = _environ(scope)
        has_body = environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ
        body, client = Body(loop, protocol, self._floor), Client(loop, protocol)
        environ |= {"wsgi.input": body if has_body else io.BytesIO(), _CLIENT_GONE: client.gone}
        feeding = loop.create_task(body.feed()) if has_body else None
        try:
            answer = await loop.run_in_executor(self._threads, self._answer, environ)
        finally:
            client.forget()
            body.forget()
            if feeding:
                feeding.cancel()
        _send(protocol, answer)

    def _answer(self, environ: dict[str, Any]) -> _Answer:
        """In a thread: what the application answers."""
        answer = _Answer(500, [])
        files: list[str] = []

        def start_response(status: str, headers: Headers, _: Any = None) -> None:
            answer.status, answer.headers = int(status.split(" ", 1)[0]), headers

        def wrap_file(file: IO[bytes], size: int = 8192) -> FileWrapper:
            files.append(str(file.name))
            return FileWrapper(file, size)

        environ["wsgi.file_wrapper"] = wrap_file
        try:
            with closing(_Content(self._application(environ, start_response))) as content:
                if files and environ["REQUEST_METHOD"] == "GET" and answer.length > _PORTION:
                    answer.file = files[0]
                else:
                    answer.body = b"".join(content)
        except Exception:  # the application answers its own errors; this is a defect of what is around it
            log.exception("request_crashed", path=environ["PATH_INFO"][:256])
            return _Answer(500, [])
        return answer


def set_send_timeout(seconds: float) -> None:
    """Have the kernel end connections whose client takes nothing of an answer for so long (RFC 5482).

    A connection inherits the option from the socket that listens, which granian has and does not hand out; those that
    are open already get it, too.
    """
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # no socket, or gone
            found = socket.socket(fileno=int(name))
            try:
                if found.family != socket.AF_UNIX and found.type == socket.SOCK_STREAM:
                    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
            finally:
                found.detach()  # it is granian's, and stays open


def _send(protocol: Any, answer: _Answer) -> None:
    """Hand the answer to granian, which sends it in its own time."""
    part = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
    if answer.file is None:
        protocol.response_bytes(answer.status, answer.headers, answer.body)
    elif part:
        protocol.response_file_range(answer.status, answer.headers, answer.file, int(part[1]), int(part[2]) + 1)
    else:
        protocol.response_file(answer.status, answer.headers, answer.file)


def _environ(scope: Any) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of an RSGI scope."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope.path).decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in scope.headers.items():
        if "_" in name:  # X_Forwarded_For would pass for the X-Forwarded-For of a proxy
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ.setdefault("HTTP_HOST", scope.authority or "")
    return environ
