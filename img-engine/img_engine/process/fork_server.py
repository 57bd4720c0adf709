"""Imported by the fork server alone, before anything else: what it and its children write to stderr reaches nobody.

Libraries in C write there what they think of a picture. Their stderr would be the engine's, and once that is a pipe
that is full, a child would wait for its reader until its time is over, which costs an attempt.
"""

from __future__ import annotations

import os

_nowhere = os.open(os.devnull, os.O_RDWR)
for _number in (1, 2):
    os.dup2(_nowhere, _number)
os.close(_nowhere)
