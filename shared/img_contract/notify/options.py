"""Socket options that both sides of the notifications need."""

from __future__ import annotations

from typing import Any, Final

import zmq

MESSAGE_BYTES: Final = 64 * 1024
"""A job message has less than 2 KiB; ZeroMQ disconnects a peer that sends more than this in one."""

_HANDSHAKE_MILLISECONDS: Final = 5000
"""A peer that has connected and does not speak ZeroMQ by then is disconnected."""


def allow_ipv6(socket: zmq.Socket[Any], address: str) -> None:
    """Let a socket use IPv6 if its address is one: with this option, libzmq needs it for any address and name."""
    if address.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)


def limit_peers(socket: zmq.Socket[Any], message_bytes: int) -> None:
    """Disconnect peers that are dead, do not speak ZeroMQ, or send larger messages than so many bytes."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, message_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MILLISECONDS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
