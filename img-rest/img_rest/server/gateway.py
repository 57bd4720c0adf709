"""From granian's RSGI to a WSGI application, in threads that never wait for the network.

WSGI has no notion of time. Here an upload that is too slow ends with `UploadTooSlow`, granian sends files without a
thread behind them, and a request that waits can ask whether its client has disconnected.

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md; WSGI: PEP 3333.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

import structlog
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator, FileWrapper

from img_rest.server.body import Body, MinimumRate, Room
from img_rest.server.client import DISCONNECTED, Client
from img_rest.server.process import open_descriptors

_INLINE_BYTES: Final = 256 * 1024
"""A file of up to this size is read here; granian sends larger ones by itself."""

_COLLECTING_BYTES: Final = 64 * 1024 * 1024
"""So much of all requests may be collected at the same time. What does not fit is read by its thread as it comes."""

_LENGTH_DIGITS: Final = 18
"""No body is longer; Python refuses to read numbers of thousands of digits."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/\d+")

log = structlog.get_logger(__name__)


@dataclass
class _Answer:
    status: int
    headers: Headers
    body: bytes = b""
    file: str | None = None
    """The path of a file that is sent as the body: the whole of it, or the part that Content-Range names."""


class Gateway:
    """An RSGI application that answers each request with a WSGI application, in one of so many threads."""

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        threads: int,
        minimum_rate: MinimumRate,
        send_timeout_seconds: float,
    ) -> None:
        self._application = application
        self._minimum_rate = minimum_rate
        self._send_timeout_seconds = send_timeout_seconds
        self._send_timeout_set = False
        self._room = Room(_COLLECTING_BYTES)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if not self._send_timeout_set:  # with the first request: granian begins to listen after it has loaded us
            self._send_timeout_set = True
            set_send_timeout(self._send_timeout_seconds)
        loop = asyncio.get_running_loop()
        environ = wsgi_environ(scope)
        client = Client(loop, protocol)
        environ[DISCONNECTED] = client.disconnected
        try:
            async with self._body(environ, protocol) as environ["wsgi.input"]:
                answer = await loop.run_in_executor(self._threads, self._answer, environ)
        finally:
            client.release()
        _send(protocol, answer)

    @asynccontextmanager
    async def _body(self, environ: dict[str, Any], protocol: Any) -> AsyncIterator[Body | io.BytesIO]:
        """Give a request its body, and stop receiving it afterwards."""
        length = _length(environ)
        if length == 0:
            yield io.BytesIO()
            return
        body = Body(asyncio.get_running_loop(), protocol, self._minimum_rate, length, self._room)
        try:
            if "HTTP_EXPECT" not in environ:  # else reading asks the client to send it, before it may be refused
                await body.start()
            yield body
        finally:
            body.release()

    def _answer(self, environ: dict[str, Any]) -> _Answer:
        """Return the application's answer. Called in a thread."""
        answer = _Answer(500, Headers())
        files: list[str] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            answer.status, answer.headers = int(status.split(" ", 1)[0]), Headers(headers)

        def wrap_file(file: IO[bytes], _: int = 0) -> FileWrapper:
            if isinstance(name := getattr(file, "name", None), str):  # else it is no file of this machine
                files.append(name)
            return FileWrapper(file, _INLINE_BYTES)  # whole, if it is small

        environ["wsgi.file_wrapper"] = wrap_file
        try:
            with closing(ClosingIterator(self._application(environ, start_response))) as content:
                large = answer.headers.get("Content-Length", 0, int) > _INLINE_BYTES
                if files and large and environ["REQUEST_METHOD"] != "HEAD":
                    answer.file = files[0]
                else:
                    answer.body = b"".join(content)
        except Exception:  # the application answers its own errors, so this is a defect around it
            log.exception("request_crashed", path=environ["PATH_INFO"][:256])
            return _Answer(500, Headers())
        return answer


def _length(environ: dict[str, Any]) -> int | None:
    """Return how long a request's body is; None if that is not known."""
    length = environ.get("CONTENT_LENGTH")
    if length is None:
        return None if "HTTP_TRANSFER_ENCODING" in environ else 0
    return int(length) if length.isdecimal() and len(length) <= _LENGTH_DIGITS else None


def set_send_timeout(seconds: float) -> None:
    """Have the kernel close connections whose client takes nothing of an answer for so long (RFC 5482).

    A connection inherits the option from the listening socket, which granian does not expose. Connections that are
    open already get the option, too.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:  # macOS; there a connection is closed when its client has not answered for minutes
        return
    for descriptor in open_descriptors():
        with suppress(OSError):  # no socket, or closed meanwhile
            found = socket.socket(fileno=descriptor)
            try:
                if found.family != socket.AF_UNIX and found.type == socket.SOCK_STREAM:
                    found.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
            finally:
                found.detach()  # the descriptor is granian's and stays open


def _send(protocol: Any, answer: _Answer) -> None:
    """Hand the answer to granian, which sends it without blocking."""
    part = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    headers = answer.headers.to_wsgi_list()
    if answer.file is None:
        protocol.response_bytes(answer.status, headers, answer.body)
    elif part:
        protocol.response_file_range(answer.status, headers, answer.file, int(part[1]), int(part[2]) + 1)
    else:
        protocol.response_file(answer.status, headers, answer.file)


def wsgi_environ(scope: Any) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of an RSGI scope."""
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
