"""The servers that take part: whether each is here, how it is started, and what it is asked for.

Each is used as its documentation tells, with its defaults, and JPEG quality 80. Those that read from a disk have the
folder of pictures for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from client import Plan
from contenders import BEFORE, EXTRA_PYTHON, HERE
from img_contract.testing import free_port
from machine import CORES
from rows import Row
from running import Server

_MODULES: Final = HERE / "node_modules"
_THUMBOR: Final = EXTRA_PYTHON.with_name("thumbor")
_WAIT: Final = 60
_THUMBOR_CONFIGURATION: Final = """\
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {folder!r}
STORAGE = "thumbor.storages.no_storage"
"""

Made = Callable[[int, Path, Path], Server]
"""Makes a server from a port, the folder of pictures, and an empty folder of its own."""


def present(before: Path | None) -> tuple[dict[str, Made], list[str]]:
    """The servers that are here, by name, and why others are not. `before` is a checkout of ours with its .venv."""
    made: dict[str, Made] = {
        "ours": lambda port, pictures, own: _ours("ours", Path(sys.executable), port, pictures, own)
    }
    if before is not None:
        python = before.resolve() / ".venv" / "bin" / "python"
        made[BEFORE] = lambda port, pictures, own: _ours(BEFORE, python, port, pictures, own)
    reasons = []
    node = shutil.which("node")
    for name, make, here in (
        ("Node + sharp", _node, node and (_MODULES / "sharp").exists()),
        ("IPX", _ipx, node and (_MODULES / "ipx").exists()),
        ("thumbor", _thumbor, _THUMBOR.exists()),
        ("imgproxy", _imgproxy, shutil.which("imgproxy")),
        ("imaginary", _imaginary, shutil.which("imaginary")),
    ):
        if here:
            made[name] = make
        else:
            reasons.append(f"{name} is not installed")
    return made, reasons


def _ours(name: str, python: Path, port: int, pictures: Path, own: Path) -> Server:
    """Both commands on a fresh volume; all else is as shipped."""
    notifier = f"tcp://127.0.0.1:{free_port()}"

    def plan(row: Row) -> Plan:
        first, *others = (f"{width}w" for width in row.widths)
        size = f"variants={','.join([first, *others])}" if others else f"width={row.widths[0]}"
        path = f"/resize?{size}&quality={row.quality}&wait={_WAIT}"
        return Plan((path,), str(pictures / row.picture), tuple(others))

    return Server(
        name,
        port,
        {command: [python.with_name(command)] for command in ("img-rest", "img-engine")},
        plan,
        "/health/ready",
        {
            "IMG_VOLUME": str(own / "volume"),
            "IMG_HTTP__PORT": str(port),
            "IMG_NOTIFIER__BIND": notifier,
            "IMG_NOTIFIER__CONNECT": notifier,
        },
    )


def _node(port: int, pictures: Path, _: Path) -> Server:
    def plan(row: Row) -> Plan:
        return Plan(tuple(f"/?width={width}" for width in row.widths), str(pictures / row.picture))

    return Server("Node + sharp", port, {"node": ["node", HERE / "server_sharp.js", str(port)]}, plan)


def _ipx(port: int, pictures: Path, _: Path) -> Server:
    program = _MODULES / "ipx" / "bin" / "ipx.mjs"
    options = ["--dir", str(pictures), "--host", "127.0.0.1", "--port", str(port)]
    return Server(
        "IPX",
        port,
        {"node": ["node", program, "serve", *options]},
        lambda row: _gets(row, "/w_{width},f_jpeg,q_80/{picture}"),
        environment={"NODE_ENV": "production"},
    )


def _thumbor(port: int, pictures: Path, own: Path) -> Server:
    configuration = own / "thumbor.conf"
    configuration.write_text(_THUMBOR_CONFIGURATION.format(folder=str(pictures)))
    options = ["--ip", "127.0.0.1", "--port", str(port), "--processes", str(CORES), "--conf", str(configuration)]
    return Server(
        "thumbor",
        port,
        {"thumbor": [_THUMBOR, *options]},
        lambda row: _gets(row, "/unsafe/{width}x/filters:quality(80)/{picture}"),
        "/healthcheck",
    )


def _imgproxy(port: int, pictures: Path, _: Path) -> Server:
    return Server(
        "imgproxy",
        port,
        {"imgproxy": ["imgproxy"]},
        lambda row: _gets(row, "/insecure/rs:fit:{width}:0/q:80/plain/local:///{picture}@jpg"),
        "/health",
        {"IMGPROXY_BIND": f"127.0.0.1:{port}", "IMGPROXY_LOCAL_FILESYSTEM_ROOT": str(pictures)},
    )


def _imaginary(port: int, pictures: Path, _: Path) -> Server:
    return Server(
        "imaginary",
        port,
        {"imaginary": ["imaginary", "-a", "127.0.0.1", "-p", str(port), "-mount", pictures]},
        lambda row: _gets(row, "/resize?width={width}&quality=80&type=jpeg&file={picture}"),
        "/health",
    )


def _gets(row: Row, path: str) -> Plan:
    return Plan(tuple(path.format(width=width, picture=row.picture) for width in row.widths))


def versions(names: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """What each is, as far as it tells."""
    if "Node + sharp" in names:
        yield "Node + sharp", {"node": _told("node", "--version"), "sharp": _package(_MODULES / "sharp")}
    if "IPX" in names:
        own = _MODULES / "ipx" / "node_modules" / "sharp"
        yield "IPX", {"ipx": _package(_MODULES / "ipx"), "sharp": _package(own if own.exists() else _MODULES / "sharp")}
    if "thumbor" in names:
        script = "from importlib.metadata import version; print(version('{}'))"
        packages = ("thumbor", "pillow", "tornado")
        yield "thumbor", {name: _told(EXTRA_PYTHON, "-c", script.format(name)) for name in packages}
    if "imgproxy" in names:
        yield "imgproxy", {"imgproxy": _told("imgproxy", "version")}
    if "imaginary" in names:
        yield "imaginary", {"imaginary": _told("imaginary", "-version")}


def _package(folder: Path) -> str:
    return str(json.loads((folder / "package.json").read_text())["version"])


def _told(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
