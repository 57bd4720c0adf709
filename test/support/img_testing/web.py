"""Requests over connections of their own, as `httpx2.get` makes them, without a TLS context for each."""

from __future__ import annotations

from typing import Final

import httpx2
from img_contract.testing import HANG_SECONDS

web: Final = httpx2.Client(timeout=HANG_SECONDS, limits=httpx2.Limits(max_keepalive_connections=0))
