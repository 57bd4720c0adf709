"""Who may listen at an encrypted notifier: libzmq asks for each client (ZAP, https://rfc.zeromq.org/spec/27/)."""

from __future__ import annotations

from typing import Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from img_contract.notify.curve import CurveConfig

ZAP_DOMAIN: Final = "notifier"


class _Engines:
    """Those who hold the client's secret key."""

    def __init__(self, public_key: str) -> None:
        self._public_key = public_key.encode()

    def callback(self, _domain: str, key: bytes) -> bool:
        """As pyzmq asks; the key in Z85."""
        return key == self._public_key


def open_gate(context: zmq.Context[zmq.Socket[bytes]], keys: CurveConfig) -> ThreadAuthenticator:
    """Start the thread that answers for this context. To be done before a socket is bound, and stopped after it."""
    gate = ThreadAuthenticator(context)
    gate.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=_Engines(keys.client_public))
    gate.start()
    return gate


def guard(socket: zmq.Socket[bytes], keys: CurveConfig) -> None:
    """Make a socket a server that encrypts, and lets in whom the gate lets in; without a gate, nobody."""
    socket.curve_server = True
    socket.curve_secretkey = keys.server_secret.get_secret_value().encode()
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
