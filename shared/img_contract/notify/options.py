"""Socket options that both sides of the notifications need."""

from __future__ import annotations

import errno
import re
from typing import Any, Final

import zmq

MESSAGE_BYTES: Final = 64 * 1024
"""A job message has less than 2 KiB; ZeroMQ disconnects a peer that sends more than this in one."""

_HANDSHAKE_MILLISECONDS: Final = 5000
"""A peer that has connected and does not speak ZeroMQ by then is disconnected."""

_NAME: Final = re.compile("[A-Za-z_]")
"""What a name has, and an address of IPv4 has not."""


def over_ipv6(address: str, attempt: int) -> bool:
    """Return whether to use IPv6 in an attempt, counted from 0, to bind or connect.

    With the option, libzmq takes of a name nothing but its IPv6 addresses where it has any, and without it nothing but
    those of IPv4; so names are tried with either in turn. `*` is both families with it, or IPv4 where the system has
    no IPv6.
    """
    host = address.removeprefix("tcp://").rpartition(":")[0]
    return host.startswith("[") or host == "*" or (bool(_NAME.search(host)) and attempt % 2 == 1)


def bind(socket: zmq.Socket[Any], address: str) -> None:
    """Bind a socket. Raises ZMQError."""
    for attempt in (0, 1):
        socket.setsockopt(zmq.IPV6, over_ipv6(address, attempt))
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno != errno.ENODEV or attempt:  # ENODEV: the name has no address of that family
                raise
        else:
            return


def limit_peers(socket: zmq.Socket[Any], message_bytes: int) -> None:
    """Disconnect peers that are dead, do not speak ZeroMQ, or send larger messages than so many bytes."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, message_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MILLISECONDS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
