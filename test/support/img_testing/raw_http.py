"""Bytes on a socket, and what comes back: for requests that no well-behaved client would send."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any, Final

import psutil

from img_testing.service import Service

HOST: Final = b"Host: x\r\n"
CRASHES: Final = ("request_crashed", "Traceback (most recent call last)", "panicked", "internal_error")
ALLOWED_5XX: Final = (503, 507)


@dataclass
class Answer:
    """One response."""

    status: int
    headers: Message
    body: bytes


@dataclass
class Exchange:
    """All that came back over one connection."""

    received: bytes = b""
    ended: bool = False
    """Whether the service closed the connection, or it was reset."""
    answers: list[Answer] = field(default_factory=list)
    rest: bytes = b""
    """What came and is no whole response."""

    @property
    def statuses(self) -> list[int]:
        """Without the interim ones."""
        return [answer.status for answer in self.answers if answer.status >= 200]


def connect(port: int, receive_bytes: int = 0, seconds: float = 30) -> socket.socket:
    """Connect; with a receive window of so many bytes, if that is given."""
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(seconds)
    connection.connect(("127.0.0.1", port))
    return connection


def talk(port: int, sent: bytes, *, seconds: float = 20, half_close: bool = False, method: str = "") -> Exchange:
    """Send all of it, read until the connection ends or nothing comes for so many seconds, and take it apart."""
    with connect(port, seconds=seconds) as connection:
        with suppress(OSError):  # an answer before everything was sent, and the connection closed over it
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        return listen(connection, method or sent.split(b" ", 1)[0].decode("latin-1"))


def listen(connection: socket.socket, method: str = "GET") -> Exchange:
    """Read until the connection ends or its timeout passes."""
    exchange = Exchange()
    try:
        while chunk := connection.recv(65536):
            exchange.received += chunk
        exchange.ended = True
    except TimeoutError:
        pass
    except OSError:
        exchange.ended = True
    exchange.answers, exchange.rest = take_apart(exchange.received, method)
    return exchange


def take_apart(received: bytes, method: str = "GET") -> tuple[list[Answer], bytes]:
    """The responses in a stream of bytes, and what is left behind them."""
    answers: list[Answer] = []
    while received.startswith(b"HTTP/1.") and b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        line, _, lines = head.partition(b"\r\n")
        status, headers = int(line.split(b" ", 2)[1]), BytesParser().parsebytes(lines + b"\r\n\r\n")
        bodiless = method == "HEAD" or status < 200 or status in (204, 304)
        length = 0 if bodiless else int(headers.get("Content-Length", 0))
        if len(rest) < length:
            break
        answers.append(Answer(status, headers, rest[:length]))
        received = rest[length:]
    return answers, received


def request(method: str, target: str, *headers: str | bytes, body: bytes | None = None, host: bytes = HOST) -> bytes:
    """A request as bytes; with a body, its Content-Length is added."""
    lines = [header if isinstance(header, bytes) else header.encode() for header in headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    head = f"{method} {target} HTTP/1.1\r\n".encode() + host + b"".join(line + b"\r\n" for line in lines)
    return head + b"\r\n" + (body or b"")


BOUNDARY: Final = b"----b0undary"
FORM: Final = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY


def form(picture: bytes, filename: bytes = b'filename="p.png"', **fields: Any) -> bytes:
    """A multipart form as bytes. `filename`: the parameter as it is to stand in its Content-Disposition."""
    body = b""
    for name, value in (fields or {"width": 5}).items():
        body += b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (
            BOUNDARY,
            name.encode(),
            str(value).encode(),
        )
    body += b'--%s\r\nContent-Disposition: form-data; name="file"; %s\r\nContent-Type: image/png\r\n\r\n%s\r\n' % (
        BOUNDARY,
        filename,
        picture,
    )
    return body + b"--%s--\r\n" % BOUNDARY


def crashes(service: Service) -> list[str]:
    """The lines of the log that tell of one."""
    return [line[:500] for line in service.log().splitlines() if any(crash in line for crash in CRASHES)]


def serving(service: Service) -> psutil.Process:
    """The process of img-rest that answers."""
    assert service.rest
    (server,) = psutil.Process(service.rest.pid).children()
    return server


def family_bytes(service: Service) -> int:
    """Resident memory of img-rest's processes."""
    assert service.rest
    family = [psutil.Process(service.rest.pid), *psutil.Process(service.rest.pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in family)
