"""Every log event is in the table, and every one of the table is logged and explained."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from img_contract.events import EVENTS

pytestmark = pytest.mark.python_independent

TOP = Path(__file__).parents[1]
PACKAGES = [
    TOP / name for name in ("shared/img_contract", "img-rest/img_rest", "img-engine/img_engine", "cluster/img_cluster")
]
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}


def logged() -> set[str]:
    """The names that the product logs, read from its code."""
    calls = [
        node
        for package in PACKAGES
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "log"
    ]
    names = [call.args[-1] for call in calls]  # `log` takes a level first
    assert all(isinstance(name, ast.Constant) for name in names), "an event's name is made at run time"
    return {str(name.value) for name in names if isinstance(name, ast.Constant)}


def test_the_table_has_the_events_that_are_logged_and_no_others() -> None:
    assert logged() == set(EVENTS)


def test_every_event_is_explained_to_operators() -> None:
    page = (TOP / "docs" / "operating.md").read_text()
    assert [event for event in EVENTS if f"`{event}`" not in page] == []
