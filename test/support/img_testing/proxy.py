"""A proxy on a real socket that breaks connections where a test says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from img_contract.testing import free_port

REQUEST, ANSWER, HALF = "in the middle of the request", "before the answer", "in the middle of the answer"
HALF_BYTES = 2000


@dataclass
class Proxy:
    """Passes connections on to a port of this machine; the first ones are cut, each as `cuts` says."""

    target: int
    cuts: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    requests: list[bytes] = field(default_factory=list)
    """The first line of each request that came."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                connection, _ = listener.accept()
                cut = self.cuts.pop(0) if self.cuts else ""
                threading.Thread(target=self._pass_on, args=(connection, cut), daemon=True).start()

    def _pass_on(self, client: socket.socket, cut: str) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as service:
            backwards = threading.Thread(
                target=_pipe, args=(service, client, {ANSWER: 0, HALF: HALF_BYTES}.get(cut)), daemon=True
            )
            backwards.start()
            _pipe(client, service, 1000 if cut == REQUEST else None, self._note)
            backwards.join()

    def _note(self, portion: bytes) -> None:
        line = portion.partition(b"\r\n")[0]
        if line.endswith(b"HTTP/1.1"):
            self.requests.append(line)


def _pipe(
    source: socket.socket, sink: socket.socket, most: int | None, note: Callable[[bytes], None] = lambda _: None
) -> None:
    """Pass on what comes; cut both connections at the first byte past `most`."""
    passed = 0
    with suppress(OSError):
        while portion := source.recv(65536):
            note(portion)
            kept = portion if most is None else portion[: most - passed]
            sink.sendall(kept)
            passed += len(kept)
            if kept != portion:
                break
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(target: int, *cuts: str) -> Iterator[Proxy]:
    """A proxy that runs."""
    proxy = Proxy(target, list(cuts))
    with socket.create_server(("127.0.0.1", proxy.port)) as listener:
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
