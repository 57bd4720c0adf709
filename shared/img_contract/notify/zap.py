"""Authentication of engines at an encrypted notifier (ZAP, https://rfc.zeromq.org/spec/27/)."""

from __future__ import annotations

from typing import Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from img_contract.notify.curve import CurveConfig

ZAP_DOMAIN: Final = "notifier"


class _HoldersOf:
    """Those who hold the secret key to this public one."""

    def __init__(self, public_key: str) -> None:
        self._public_key = public_key.encode()

    def callback(self, _domain: str, key: bytes) -> bool:
        """Return whether a client may connect; pyzmq calls it with its public key in Z85."""
        return key == self._public_key


def start_authenticator(context: zmq.Context[zmq.Socket[bytes]], keys: CurveConfig) -> ThreadAuthenticator:
    """Start the authenticator of a context. Call before binding a socket; stop it after closing the socket."""
    authenticator = ThreadAuthenticator(context)
    authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=_HoldersOf(keys.client_public))
    authenticator.start()
    return authenticator


def require_client_key(socket: zmq.Socket[bytes], keys: CurveConfig) -> None:
    """Make a socket an encrypting server; without a running authenticator it lets nobody connect."""
    socket.curve_server = True
    socket.curve_secretkey = keys.server_secret.get_secret_value().encode()
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
