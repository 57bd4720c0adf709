"""The pins stay above versions with known holes. `make audit` asks an advisory service for new ones."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pillow_heif
import pytest
from packaging.version import Version
from PIL import features

TOP = Path(__file__).parents[1]
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (TOP / "constraints.txt").read_text(), re.MULTILINE))

FLOORS = {
    "pillow": "12.3",
    "werkzeug": "3.1.8",
    "flask": "3.1.3",
    "jinja2": "3.1.6",
    "granian": "2.8",
    "pyzmq": "27.1",
    "requests": "2.33",
    "urllib3": "2.7",
    "h11": "0.16",
    "celery": "5.7",
    "obstore": "0.12",
}
"""Packages that strangers' bytes reach, and the oldest version of each that may be pinned."""

LIBRARIES = {"webp": "1.5", "libjpeg_turbo": "3.1", "libtiff": "4.7", "avif": "1.3"}
"""Libraries within Pillow's wheels."""


@pytest.mark.parametrize("name", FLOORS)
def test_a_pin_is_not_below_its_floor_and_is_what_is_installed(name: str) -> None:
    assert Version(PINS[name]) >= Version(FLOORS[name])
    assert version(name) == PINS[name]


def test_libheif_is_not_below_its_floor() -> None:
    assert Version(pillow_heif.libheif_version()) >= Version("1.22.1")


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_within_pillow_is_not_below_its_floor(name: str) -> None:
    found = features.version(name)
    assert found is not None
    assert Version(found) >= Version(LIBRARIES[name])


def test_every_package_that_is_installed_is_pinned() -> None:
    """An unpinned one could be any version tomorrow."""
    from importlib.metadata import distributions

    ours = {"img-contract", "img-rest", "img-engine", "img-client", "img-cluster", "img-testing"}
    tools = {"pip", "setuptools", "wheel", "py-spy"}  # what makes the environment, and what a person adds to it
    installed = {re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower() for found in distributions()}
    assert sorted(installed - ours - tools - set(PINS)) == []
