"""What the process of a server sees to besides HTTP: its port, its open files and its signals."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

from img_contract.errors import ConfigError

_HOST_AT_FAULT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV, errno.EINVAL}
"""The last is of an address that needs a scope, or is of a group (multicast)."""
_MOST_DESCRIPTORS: Final = 65536


def address_to_bind(host: str, port: int) -> str:
    """Return the address of a host that can be bound; a name may have several.

    Granian takes no names. It would share a port that is in use with another server, each answering half of the
    requests. Raises ConfigError.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _host_fault(host, error.strerror) from None
    except UnicodeError:  # its labels are empty or too long, or it has characters that no name may have
        raise _host_fault(host, "no name of a host") from None
    # Granian takes no address with a scope: fe80::1%eth0.
    found = [one for one in found if host and "%" not in str(one[4][0])]
    if not found:
        raise _host_fault(host, "it cannot be bound")
    faults = []
    for family, kind, protocol, _, address in sorted(found):  # IPv4 first
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            faults.append(error)
        else:
            return str(address[0])
    if faults[0].errno in _HOST_AT_FAULT:
        raise _host_fault(host, faults[0].strerror)
    found_there = f"{host}:{port}: {faults[0].strerror}; IMG_HTTP__PORT sets another"
    raise ConfigError([f"http.port: expected an address that is free, found {found_there}"])


def _host_fault(host: str, reason: str | None) -> ConfigError:
    expected = "an address of this machine or a name of one, such as 127.0.0.1, :: or localhost"
    return ConfigError([f"http.host: expected {expected}; found {host!r}: {reason}"])


def url_of(host: str, address: str, port: int) -> str:
    """Return the URL of a server that was bound to an address, for a browser on this machine.

    An IPv6 address has brackets in it, and all addresses of the machine are none.
    """
    host = "localhost" if ip_address(address).is_unspecified else host.strip("[]")
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def open_descriptors() -> Iterable[int]:
    """Return the descriptors that this process has open, or a range that they are in."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return range(_MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, _MOST_DESCRIPTORS))


def shared_flag() -> Any:
    """Return a flag, false at first, that this process shares with those that it starts. Raises ConfigError."""
    try:
        return RawValue(ctypes.c_bool)
    except OSError as error:
        found = f"found /dev/shm: {error.strerror}; mount a tmpfs there, with mode 1777"
        raise ConfigError([f"expected memory that processes can share, {found}"]) from None


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
