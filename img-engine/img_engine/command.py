"""The composition root of the engine: loads the configuration, builds the real parts, and runs them."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from collections.abc import Callable
from importlib.metadata import version

import structlog
from img_contract.config import Config
from img_contract.errors import ConfigError, StoreError, StoreFull
from img_contract.failpoints import arm
from img_contract.load_config import add_config_option, load_config
from img_contract.logs import configure_logs, open_standard_streams, say, tell
from img_contract.notify.pull import ZmqListener
from img_contract.ports import Work
from img_contract.volume.engines import Engines
from img_contract.volume.layout import Layout
from img_contract.volume.proof import prove
from img_contract.volume.queue import VolumeWork

log = structlog.get_logger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run an engine until SIGTERM or SIGINT. Returns the exit status: 2 for a faulty configuration or volume."""
    open_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        arm(os.environ)
        if config.store is not None or options.check_store is not None:
            return _run_over_a_store(config, options)
        layout = Layout(config.volume)
        layout.share_with_group()
        layout.prepare()
        if options.check:
            return _told_alive(Engines(layout).alive())
        if options.check_volume:
            prove(layout)
            user = f"{os.geteuid()}:{os.getegid()}"
            return tell(f"{layout.root}: everything that jobs need of a volume can be done by {user}")
        try:
            prove(layout)
        except StoreFull as full:  # an engine is what makes room
            say(f"img-engine: {full}; starting all the same")
    except (ConfigError, StoreError) as error:
        say(f"img-engine: {error}")
        return 2
    return _run(config, lambda name, _: _volume_work(config, layout, name))


def _run_over_a_store(config: Config, options: argparse.Namespace) -> int:
    """Run an engine of a cluster, or check what it needs. Raises ConfigError, StoreError."""
    # Imported here: the package is installed where there is a cluster, and nowhere else.
    try:
        from img_cluster import parts  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise ConfigError([f"store: expected the package img-engine[cluster], found none: {missing}"]) from None
    if options.check_store is not None or options.check_volume:
        return tell(parts.race_store(config, options.check_store or []))
    if options.check:
        return _told_alive(parts.engines_alive(config))
    if config.store is not None:
        parts.prove_store(config.store)
    return _run(config, lambda name, slots: parts.cluster_work(config, name, slots, version("img-engine")))


def _told_alive(names: list[str]) -> int:
    """Return the exit status of a check: 0 if an engine on this host is alive."""
    return 0 if any(name.startswith(f"{socket.gethostname()}.") for name in names) else 1


def _volume_work(config: Config, layout: Layout, name: str) -> Work:
    return VolumeWork(
        layout,
        ZmqListener(config.notifier.connect, config.notifier.curve, config.limits.message_bytes),
        name,
        lease_seconds=config.engine.lease_seconds,
        attempts=config.engine.attempts,
        retention_seconds=config.retention_seconds,
        version=version("img-engine"),
    )


def _run(config: Config, new_work: Callable[[str, int], Work]) -> int:
    """Run an engine. `new_work` is given its name, and how many attempts it makes at a time."""
    # Imported here: the check, which is made every few seconds, would spend half a second of CPU on imaging libraries.
    from img_engine.attempt import Attempts  # noqa: PLC0415
    from img_engine.errors import ChildrenBroken  # noqa: PLC0415
    from img_engine.metrics import EngineMetrics  # noqa: PLC0415
    from img_engine.process.pool import Children, children_for_this_machine  # noqa: PLC0415
    from img_engine.render.jpeg_planes.turbojpeg import turbojpeg  # noqa: PLC0415
    from img_engine.render.task import PictureLimits  # noqa: PLC0415
    from img_engine.worker import Worker  # noqa: PLC0415

    metrics = EngineMetrics()
    configure_logs(config.log_level, "img-engine", metrics.observe)
    if turbojpeg() is None:
        log.warning("libturbojpeg_missing", remedy="Debian and Ubuntu: apt-get install libturbojpeg0")
    limits, engine, name = config.limits, config.engine, _name()
    count = engine.children or children_for_this_machine(engine.child_bytes)
    try:
        children = Children(count, engine.child_bytes, engine.job_seconds)
    except ChildrenBroken as error:
        say(f"img-engine: {error}")
        return 2
    try:
        children.wait_ready()
    except ChildrenBroken as error:
        say(f"img-engine: {error}")
        children.stop()
        return 2
    metrics.follow(children)
    slots = count + 1 + count // 4  # while one's result is being published, its child is at the next
    work = new_work(name, slots)
    picture_limits = PictureLimits(limits.pixels, limits.frames, engine.child_bytes, limits.animation_pixels)
    attempts = Attempts(children, picture_limits)
    worker = Worker(name, work, attempts, slots, engine, metrics.text)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
    children.stop()
    work.close()
    return 0


def _name() -> str:
    """This engine's name: its host (in a container: the container's id) and its process number."""
    return f"{socket.gethostname()}.{os.getpid()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="img-engine",
        description="Takes jobs from the shared volume or the broker, renders each in a child process, and publishes "
        "the results. Any number of engines may share a volume or a broker.",
        epilog="Every key of the configuration can be overridden by an environment variable: engine.children is "
        "IMG_ENGINE__CHILDREN. docs/configuration.md lists them.",
    )
    add_config_option(parser)
    parser.add_argument("--check", action="store_true", help="tell whether the engine on this host is alive, and exit")
    parser.add_argument(
        "--check-volume", action="store_true", help="prove that the volume can do what is needed of it, and exit"
    )
    parser.add_argument(
        "--check-store",
        nargs="*",
        metavar="ENDPOINT",
        help="prove that the object store of the configuration can do what is needed of it, also when writers race "
        "through these endpoints of the same store besides its own, and exit",
    )
    parser.add_argument("--version", action="version", version=version("img-engine"))
    return parser
