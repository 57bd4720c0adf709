"""The composition root of the API: loads the configuration, builds the application, and serves it with granian."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer
from img_contract.config import Config
from img_contract.errors import ConfigError, StoreError, StoreFull
from img_contract.failpoints import arm
from img_contract.load_config import add_config_option, load_config
from img_contract.logs import LoggedMessages, configure_logs, open_standard_streams, say, tell
from img_contract.notify.push import ZmqNotifier
from img_contract.ports import Jobs
from img_contract.process import end_with_parent
from img_contract.volume.layout import Layout
from img_contract.volume.proof import prove
from img_contract.volume.store import VolumeJobs

from img_rest.admission.access import new_key
from img_rest.app import create_app
from img_rest.metrics import RestMetrics
from img_rest.server.body import MinimumRate
from img_rest.server.gateway import Gateway
from img_rest.server.process import address_to_bind, allow_open_files, set_when_stopping, shared_flag, url_of

_RATE_INTERVAL_SECONDS: Final = 10.0
"""The rate of an upload is checked after each such time of waiting for it."""
_READ_AHEAD_BYTES: Final = 256 * 1024
"""What granian reads of an upload at once; each portion wakes the event loop. 400 uploads that stall come to 25 MB more
than with 64 KiB."""

_LOGGING: Final = {
    "handlers": {"lossy": {"class": f"{LoggedMessages.__module__}.{LoggedMessages.__qualname__}"}},
    "loggers": {"_granian": {"handlers": ["lossy"], "propagate": False}},
}
"""Granian's logs go the way of ours."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status: 2 for a faulty configuration or volume."""
    open_standard_streams()
    options = _parser().parse_args(arguments)
    if options.new_key:
        key, digest = new_key()
        return tell(f"key, for the client:           {key}\ndigest, for access.keys.NAME:  {digest}")
    try:
        config = load_config(options.config)
        arm(os.environ)
        try:
            _prepare(config)
        except StoreFull as full:  # results are to be had all the same
            say(f"img-rest: {full}; starting all the same")
        address = address_to_bind(config.http.host, config.http.port)
        stopping = shared_flag()  # with the process that serves
    except (ConfigError, StoreError) as error:
        say(f"img-rest: {error}")
        return 2
    configure_logs(config.log_level, "img-rest")
    allow_open_files(config.http.connections + 2 * config.http.threads)
    server = MPServer(
        "img_rest",
        address=address,
        port=config.http.port,
        interface=Interfaces.RSGI,
        workers=1,  # the notifier is bound once
        backpressure=config.http.connections,  # granian counts idle connections, too
        http1_settings=HTTP1Settings(
            header_read_timeout=round(config.http.idle_seconds * 1000),
            max_buffer_size=max(_READ_AHEAD_BYTES, 2 * config.limits.header_bytes),
        ),
        workers_kill_timeout=max(1, round(config.http.shutdown_timeout_seconds)),
        websockets=False,
        http=HTTPModes.http1,  # over HTTP/2, granian never ends a body that is shorter than its Content-Length
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
    )
    server.on_startup(functools.partial(set_when_stopping, stopping))
    url = url_of(config.http.host, address, config.http.port)
    say(f"img-rest: {url} (Swagger UI), {url}app (the page for people)")
    # Typed for plain callables; an RSGI application is an object with the method __rsgi__.
    loader: Any = functools.partial(_load, config, stopping)
    server.serve(target_loader=loader, wrap_loader=False)
    return 0


def _prepare(config: Config) -> None:
    """Prove that what keeps the jobs can do what they need. Raises ConfigError, StoreError."""
    if config.store is None:
        layout = Layout(config.volume)
        layout.share_with_group()
        layout.prepare()
        prove(layout)
        return
    # In a process of its own: the store's library has threads, which the process that serves would be forked without.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as process:
        process.submit(_cluster_parts().prove_store, config.store).result()


def _cluster_parts() -> Any:
    """Import what is installed where there is a cluster, and nowhere else. Raises ConfigError."""
    try:
        from img_cluster import parts  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise ConfigError([f"store: expected the package img-rest[cluster], found none: {missing}"]) from None
    return parts


def _jobs(config: Config) -> Jobs:
    if config.store is not None:
        jobs: Jobs = _cluster_parts().cluster_jobs(config)
        return jobs
    notifier = ZmqNotifier(config.notifier.bind, config.notifier.curve, config.limits.message_bytes)
    return VolumeJobs(Layout(config.volume), notifier, config.retention_seconds)


def _load(config: Config, stopping: Any) -> Gateway:
    """Build the application in the process that serves it; granian calls this there."""
    os.setpgid(0, 0)  # Ctrl-C is for the main process alone, which then stops this one
    metrics = RestMetrics()
    configure_logs(config.log_level, "img-rest", metrics.observe)
    arm(os.environ)
    end_with_parent()  # which frees the port and the notifier
    app = create_app(config, _jobs(config), lambda: bool(stopping.value), metrics)
    http = config.http
    minimum_rate = MinimumRate(http.upload_bytes_per_second, _RATE_INTERVAL_SECONDS)
    return Gateway(app, http.threads, minimum_rate, http.send_timeout_seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="img-rest",
        description="The HTTP API: accepts pictures, writes jobs to the shared volume or store, answers from there.",
        epilog="Every key of the configuration can be overridden by an environment variable: http.port is "
        "IMG_HTTP__PORT. docs/configuration.md lists them.",
    )
    add_config_option(parser)
    parser.add_argument("--new-key", action="store_true", help="print a fresh API key and its digest, and exit")
    parser.add_argument("--version", action="version", version=version("img-rest"))
    return parser
