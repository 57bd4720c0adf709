"""The first moments of a command."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from img_contract.start import importing

before = gc.get_freeze_count()
try:
    with importing():
        assert not gc.isenabled()
        import decimal
        raise ImportError("it is not there")
except ImportError:
    pass
assert gc.isenabled()
assert gc.get_freeze_count() > before
assert not any(each is decimal for each in gc.get_objects()), "the collector still looks at what was imported"
"""


def test_the_collector_rests_during_imports_and_then_leaves_them_alone() -> None:
    """In a process of its own: what is frozen stays so."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
