"""Who may import whom, and that importing does nothing."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from pathlib import Path

import grimp

TOP = Path(__file__).parents[1]
PACKAGES = ("shared", "cluster", "img-rest", "img-engine", "img-client")

ALL_MODULES = """
import importlib, pkgutil, socket, sys, threading, builtins, logging

def refused(*_, **__):
    raise AssertionError("importing must have no effect")

names = ("img_contract", "img_cluster", "img_rest", "img_engine", "img_client")
packages = [importlib.import_module(name) for name in names]
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


def sources() -> list[Path]:
    """Every Python file of the packages."""
    found = [path for package in PACKAGES for path in (TOP / package).rglob("*.py") if "venv" not in path.parts]
    assert len(found) > 60
    return found


def test_the_layers_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    checked = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert " kept, 0 broken" in checked.stdout


def test_there_is_no_circle_between_two_modules() -> None:
    graph = grimp.build_graph("img_contract", "img_cluster", "img_rest", "img_engine", "img_client", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 60
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_no_import_is_hidden_from_the_reader() -> None:
    assert [path for path in sources() if "TYPE_CHECKING" in path.read_text()] == []


def test_importing_every_module_opens_no_socket_and_starts_no_thread() -> None:
    imported = subprocess.run([sys.executable, "-c", ALL_MODULES], capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    assert int(imported.stdout) > 30


def test_nothing_edits_the_import_path() -> None:
    """Neither the product nor its tests and its benchmark: what they share is installed."""
    everything = [*sources(), *(TOP / "test").rglob("*.py"), *(TOP / "bench").rglob("*.py")]
    everything = [path for path in everything if not {".venv", "node_modules"} & set(path.parts)]
    assert [path for path in everything if "sys" + ".path" in path.read_text()] == []
    assert "pythonpath" not in (TOP / "pyproject.toml").read_text()
