"""What the process of a server sees to besides HTTP: its port, its open files and its signals."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

from img_contract.errors import ConfigError


def check_address(host: str, port: int) -> None:
    """Check that an address is free. Granian would share it with another server, each answering half of the requests.

    Raises ConfigError.
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        found = f"{host}:{port}: {error.strerror}"
        raise ConfigError([f"http.port: expected an address that is free, found {found}"]) from None


def allow_open_files(wanted: int) -> None:
    """Raise the limit of open files to so many, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def set_when_stopping(stopping: Any) -> None:
    """Set the shared `stopping` on SIGTERM and SIGINT, before granian's own handlers run. Call it once they are there.

    Requests that wait look at it: each would otherwise delay the stop until its time is over. Only the first signal is
    passed on: granian's handler sets a threading.Event, and a second signal that interrupts it would deadlock. A
    forked process that has no handlers of its own yet exits at once.
    """
    main_process = os.getpid()
    passed_on = False

    def wrapped(granians: Any) -> Callable[[int, Any], None]:
        def handler(received: int, frame: Any) -> None:
            nonlocal passed_on
            if os.getpid() != main_process:
                os._exit(0)
            stopping.value = True
            if not passed_on:
                passed_on = True
                granians(received, frame)

        return handler

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, wrapped(signal.getsignal(number)))
