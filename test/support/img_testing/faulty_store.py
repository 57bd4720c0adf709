"""A proxy in front of an object store that is slow, refuses, or loses answers where a test says so."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import unquote, urlsplit

_OF_ONE_CONNECTION: Final = ("connection", "keep-alive", "transfer-encoding", "content-length")


@dataclass
class Fault:
    """What becomes of the requests whose method and target a pattern finds, such as `PUT .*/job.json`."""

    pattern: str
    status: int | None = None
    """Refuse with this status, and carry nothing out. None: carry it out, and close the connection unanswered."""
    times: int | None = None
    """How often; None: until the fault is removed."""
    one_key: bool = False
    """Only the first target that is found, then and later; all others are let through."""
    met: int = 0
    """How many requests met it."""
    key: str | None = None
    """The first target that was found."""

    def meets(self, method: str, target: str) -> bool:
        """Return whether a request meets the fault, and count it."""
        if not re.search(self.pattern, f"{method} {target}") or (self.times is not None and self.met >= self.times):
            return False
        self.key = self.key or target
        if self.one_key and target != self.key:
            return False
        self.met += 1
        return True


@dataclass
class FaultyStore:
    """Passes requests on to a store. Thread-safe; what it does may be changed at any time."""

    store: str
    """Address of the real one."""
    url: str = ""
    delay_seconds: float = 0.0
    """How long each request waits before it is passed on."""
    faults: list[Fault] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    """How many came, by method; LIST is a GET of names, and DELETE also a POST that removes several objects."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, pattern: str, status: int | None = None, *, times: int | None = None, one_key: bool = False) -> Fault:
        """Add a fault; see `Fault`."""
        fault = Fault(pattern, status, times, one_key)
        with self.lock:
            self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """Be a good store from now on."""
        with self.lock:
            self.faults.clear()
        self.delay_seconds = 0.0

    def fault_of(self, method: str, target: str, body: bytes) -> Fault | None:
        """Count a request, and return the fault that it meets."""
        kind = "LIST" if method == "GET" and "list-type=" in target else method
        if method == "POST" and target.endswith("?delete"):  # of several objects, which its body names
            kind, target = "DELETE", " ".join(re.findall("<Key>(.*?)</Key>", body.decode()))
        with self.lock:
            self.requests[kind] += 1
            return next((one for one in self.faults if one.meets(kind, unquote(target))), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyStore

    def setup(self) -> None:
        super().setup()
        self._to_store = http.client.HTTPConnection(str(urlsplit(self.proxy.store).netloc))

    def finish(self) -> None:
        self._to_store.close()
        super().finish()

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.proxy.delay_seconds)  # the delay is what is tested
        fault = self.proxy.fault_of(self.command, self.path, body)
        if fault and fault.status is not None:
            self._answer(fault.status, {}, b"")
            return
        try:
            status, headers, content = self._ask(body)
        except (OSError, http.client.HTTPException):  # the store closed a connection that lay idle
            self._to_store.close()
            try:
                status, headers, content = self._ask(body)
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
        if fault:
            self.close_connection = True
        else:
            self._answer(status, headers, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815  the names that http.server looks for

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        self._to_store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self._to_store.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            self._to_store.putheader("Content-Length", str(len(body)))
        self._to_store.endheaders(body)
        answer = self._to_store.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION[:3]}
        for name, value in kept.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in kept):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no fault here."""


@contextmanager
def faulty(store: str) -> Iterator[FaultyStore]:
    """A proxy that runs, in front of the store at this address."""
    proxy = FaultyStore(store)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
