"""The composition root of the API: loads the configuration, builds the real parts, and serves them with granian."""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer
from img_contract.config import Config, add_config_option, load_config
from img_contract.errors import ConfigError, StoreError
from img_contract.failpoints import arm
from img_contract.logs import configure_logs
from img_contract.notify.push import ZmqNotifier
from img_contract.process import end_with_parent
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs

from img_rest.admission.access import new_key
from img_rest.app import create_app
from img_rest.server.gateway import Floor, Gateway

_JUDGED_SECONDS: Final = 10.0
"""An upload's speed is judged whenever it was waited for so long."""
_BUFFER_BYTES: Final = 64 * 1024
"""What granian reads ahead of an upload. Its default of 400 kB costs 1.4 MB more for each, and is no faster."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 2 for a faulty configuration or volume."""
    options = _parser().parse_args(arguments)
    if options.new_key:
        key, digest = new_key()
        print(f"key, for the client:           {key}\ndigest, for access.keys.NAME:  {digest}")
        return 0
    try:
        config = load_config(options.config)
        arm(os.environ)
        Layout(config.volume).prepare()
        _check_port(config)
    except (ConfigError, StoreError) as error:
        print(f"img-rest: {error}", file=sys.stderr)
        return 2
    _allow_files(config.http.connections + 2 * config.http.threads)
    stopping = RawValue(ctypes.c_bool)  # false; shared with the process that serves
    server = MPServer(
        "img_rest",
        address=config.http.host,
        port=config.http.port,
        interface=Interfaces.RSGI,
        workers=1,  # the notifier is bound once
        backpressure=config.http.connections,  # granian counts idle connections, too
        http1_settings=HTTP1Settings(
            header_read_timeout=round(config.http.header_seconds * 1000),
            max_buffer_size=max(_BUFFER_BYTES, 2 * config.limits.header_bytes),
        ),
        workers_kill_timeout=max(1, round(config.http.shutdown_timeout_seconds)),
        websockets=False,
        http=HTTPModes.http1,  # over HTTP/2, granian never ends a body that is shorter than its Content-Length
        log_level=LogLevels.error,
    )
    server.on_startup(functools.partial(_tell_when_stopping, stopping))
    print(f"img-rest: http://{config.http.host}:{config.http.port}/ (Swagger UI)", file=sys.stderr, flush=True)
    # Typed for plain callables; an RSGI application is an object with the method __rsgi__.
    loader: Any = functools.partial(_load, config, stopping)
    server.serve(target_loader=loader, wrap_loader=False)
    return 0


def _load(config: Config, stopping: Any) -> Gateway:
    """Build the application in the process that serves it; granian calls this there."""
    os.setpgid(0, 0)  # Ctrl-C is for the main process, which ends this one; both at once ends in a muddle
    configure_logs(config.log_level, "img-rest")
    arm(os.environ)
    end_with_parent()  # which frees the port and the notifier
    notifier = ZmqNotifier(config.notifier.bind, config.notifier.curve, config.limits.message_bytes)
    jobs = VolumeJobs(Layout(config.volume), notifier, config.retention_seconds)
    app = create_app(config, jobs, lambda: bool(stopping.value))
    http = config.http
    floor = Floor(http.upload_bytes_per_second, _JUDGED_SECONDS)
    return Gateway(app, http.threads, floor, http.send_timeout_seconds)


def _check_port(config: Config) -> None:
    """Refuse a port that is taken: granian would share it with another img-rest, each answering half of them."""
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            config.http.host, config.http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        where = f"{config.http.host}:{config.http.port}"
        raise ConfigError([f"http.port: expected an address that is free, found {where}: {error.strerror}"]) from None


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files to what the connections and the files behind them need, if that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _tell_when_stopping(stopping: Any) -> None:
    """Before granian's own handlers run, tell the clients that wait: else each would hold up the end for its time.

    Only the first signal is passed on: granian's handler sets a threading.Event, which a second signal in the middle of
    that would find locked, by itself. A process that was forked and has no handlers of its own yet just ends.
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="img-rest",
        description="The HTTP API: takes pictures, writes jobs to the shared volume, and answers from what is there.",
        epilog="Every key of the configuration can be overridden by an environment variable: http.port is "
        "IMG_HTTP__PORT. docs/configuration.md lists them.",
    )
    add_config_option(parser)
    parser.add_argument("--new-key", action="store_true", help="print a fresh API key and its digest, and exit")
    parser.add_argument("--version", action="version", version=version("img-rest"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
