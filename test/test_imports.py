"""Who may import whom, and that importing does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[1]

ALL_MODULES = """
import importlib, pkgutil, socket, sys, threading, builtins, logging

def refused(*_, **__):
    raise AssertionError("importing must have no effect")

packages = [importlib.import_module(name) for name in ("img_contract", "img_rest", "img_engine", "img_client")]
names = [
    module.name
    for package in packages
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
before = threading.active_count(), list(logging.getLogger().handlers)
socket.socket.bind = socket.socket.connect = refused
for name in names:
    importlib.import_module(name)
assert (threading.active_count(), list(logging.getLogger().handlers)) == before
print(len(names))
"""


def test_the_layers_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    checked = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "4 kept, 0 broken" in checked.stdout


def test_importing_every_module_opens_no_socket_and_starts_no_thread() -> None:
    imported = subprocess.run([sys.executable, "-c", ALL_MODULES], capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    assert int(imported.stdout) > 30


def test_nothing_edits_the_import_path() -> None:
    sources = [path for package in ("shared", "img-rest", "img-engine") for path in (TOP / package).rglob("*.py")]
    sources = [path for path in sources if "venv" not in path.parts]
    assert sources
    assert [path for path in sources if "sys" + ".path" in path.read_text()] == []
