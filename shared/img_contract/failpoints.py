"""Named places in the code at which a test makes the process die, stop or meet a failing disk. Off unless asked for.

`IMG_FAILPOINTS` names them, separated by commas, each as `point[@subject][#n]=action`:

    claim.taken=kill                  the whole program dies each time it has taken a claim
    storage.write#3=ENOSPC            the third write of this process finds the disk full
    child.decoding@13x13=segv         a child that is to decode a picture of 13 × 13 pixels dies of a segmentation fault

Actions: `kill` ends the program with SIGKILL (this process, and the one that started it as its child), `die` this
process alone, `segv` the same by a segmentation fault, `freeze` stops it until SIGCONT, `hang` keeps it in a call into
C with SIGTERM ignored; the name of an errno raises that OSError. `#n`: only the n-th time that a process comes there.

The idea is that of FreeBSD's fail(9). POINTS has them all.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from img_contract.errors import ConfigError

VARIABLE: Final = "IMG_FAILPOINTS"

POINTS: Final = {
    "upload.receiving": "img-rest: a portion of the upload has come",
    "submission.flushed": "img-rest: the upload is flushed",
    "submission.recorded": "img-rest: job.json is flushed; the job does not exist yet",
    "submission.renamed": "img-rest: the job exists; its marker does not",
    "submission.marked": "img-rest: the marker exists; nobody has been notified",
    "notifier.notified": "img-rest: the engines have been notified; the client has not been answered",
    "answer.ready": "img-rest: the 202 is made",
    "job.received": "img-engine: it knows of a job, by the notifier or the sweep",
    "claim.taken": "img-engine: the claim exists",
    "child.decoding": "a child: the header is read; subject: width and height, as 13x13",
    "child.encoded": "a child: a result is encoded, and not yet written",
    "publish.starting": "img-engine: the results are written under the attempt's own names",
    "publish.renamed": "img-engine: the results have their names; there is no outcome",
    "outcome.written": "img-engine: the outcome exists; the marker is still there",
    "storage.write": "either: a file is to be created or written",
    "journal.write": "either: the line of a job that was submitted or has ended is to be written",
    "storage.fsync": "either: a file or a folder is to be flushed",
    "storage.rename": "either: something is to be renamed or linked",
}
"""Every point, and where it is."""

_SPEC: Final = re.compile(r"(?P<point>[a-z.]+)(?:@(?P<subject>\w+))?(?:#(?P<nth>[1-9]\d*))?=(?P<action>\w+)")
_ACTIONS: Final = ("kill", "die", "segv", "freeze", "hang")


@dataclass(frozen=True)
class _Armed:
    subject: str | None
    nth: int | None
    action: str


_armed: dict[str, list[_Armed]] = {}
_passed: Counter[tuple[str, str | None]] = Counter()
_lock = threading.Lock()


def arm(environment: Mapping[str, str]) -> None:
    """Set the points that the environment names, and no others; from a composition root. Raises ConfigError."""
    _armed.clear()
    _passed.clear()
    for text in filter(None, environment.get(VARIABLE, "").split(",")):
        spec = _SPEC.fullmatch(text.strip())
        known = spec and (spec["action"] in _ACTIONS or spec["action"] in errno.errorcode.values())
        if spec is None or not known or spec["point"] not in POINTS:
            raise ConfigError([f"{VARIABLE}: expected point[@subject][#n]=action, found {text!r}"])
        nth = int(spec["nth"]) if spec["nth"] else None
        _armed.setdefault(spec["point"], []).append(_Armed(spec["subject"], nth, spec["action"]))


def failpoint(name: str, subject: str | None = None) -> None:
    """Come past a point. Nothing happens unless it is armed. May raise OSError, or not return."""
    if not _armed:
        return
    with _lock:
        for kind in {None, subject}:
            _passed[name, kind] += 1
        due = [
            armed.action
            for armed in _armed.get(name, ())
            if armed.subject in (None, subject) and armed.nth in (None, _passed[name, armed.subject])
        ]
    for action in due:
        _act(action, name)


def _act(action: str, name: str) -> None:
    match action:
        case "kill":
            parent = multiprocessing.parent_process()
            if parent is not None and parent.pid is not None:
                os.kill(parent.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hang":
            libc = ctypes.PyDLL(None)  # which keeps the interpreter's lock: no Python runs any more
            libc.signal(signal.SIGTERM, ctypes.c_void_p(int(signal.SIG_IGN)))
            while True:
                libc.pause()
        case _:
            number = getattr(errno, action)
            raise OSError(number, f"{os.strerror(number)} (failpoint {name})")
