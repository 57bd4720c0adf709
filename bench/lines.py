"""Processes that are told what to do by a JSON object a line, and answer each with one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class WorkerFailedError(Exception):
    """A process cannot do what it was told; the text says why."""


class LineProcess:
    """One such process, until its input ends."""

    def __init__(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.pid = self._process.pid

    def tell(self, **what: Any) -> None:
        """Send a line, and do not wait."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for a line. Raises WorkerFailedError."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailedError(f"{self.name} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailedError(answer["error"])
        return answer

    def ask(self, **what: Any) -> dict[str, Any]:
        """Send a line and wait for the answer. Raises WorkerFailedError."""
        self.tell(**what)
        return self.answer()

    def stop(self) -> None:
        """Let it end: its input ends."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
