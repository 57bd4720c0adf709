"""Run every command of README.md as it is written there, in one shell, from the top of the repository.

Commands that run until Ctrl-C are started beside it; the next command waits until the service is ready. They are
stopped with Ctrl-C before the next of their kind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]

STAYS = {"docker-compose up", "make run"}
"""Commands that a person leaves running in a terminal of their own."""

RESULTS = {
    "small.jpg": b"\xff\xd8\xff",
    "small.webp": b"RIFF",
    "cover.png": b"\x89PNG",
    "thumb.jpg": b"\xff\xd8\xff",
    "tiny.jpg": b"\xff\xd8\xff",
}
"""The files that the commands leave, and how each begins."""

PROLOGUE = """
set -eEuo pipefail
set -m  # jobs get process groups of their own, so that Ctrl-C can be sent to one
running=
stop() {
  if [ -n "$running" ]; then
    kill -INT -- "-$running"
    wait "$running" || { status=$?; [ $status -eq 130 ] || { echo "README: Ctrl-C ended with $status"; exit 1; }; }
    running=
  fi
}
trap 'echo "README: a command failed" >&2; stop || true' ERR
ready() {
  for _ in $(seq 1200); do
    curl -q -sf localhost:8080/health/ready >/dev/null && return
    kill -0 "$running" || { echo "README: it ended by itself" >&2; return 1; }
    sleep 0.5
  done
  echo "README: not ready in ten minutes" >&2
  return 1
}
"""


def commands() -> list[str]:
    """The lines of every block that is marked as a shell's."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (TOP / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def script() -> str:
    """The commands as one script, each told before it runs."""
    lines = [PROLOGUE]
    for command in commands():
        quoted = command.replace("'", "'\\''")
        lines.append(f"echo; echo '── README, after '$SECONDS's: {quoted}'")
        if command in STAYS:
            lines.append(f"stop\n{command} &\nrunning=$!\nready")
        elif command.startswith("docker-compose"):
            lines.append(f"stop\n{command}")
        else:
            lines.append(command)
    lines.append("stop")
    return "\n".join(lines)


def main() -> int:
    if "--print" in sys.argv:
        print(script())
        return 0
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who starts CI in the background ignores it, and so would all below
    for name in RESULTS:
        (TOP / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".curlrc").write_text("fail-with-body\n")  # so that an answer of 400 or more fails here
        environment = os.environ | {"CURL_HOME": home}
        status = subprocess.run(["bash", "-c", script()], cwd=TOP, check=False, env=environment).returncode
    if status:
        return status
    wrong = [name for name, head in RESULTS.items() if not (TOP / name).read_bytes().startswith(head)]
    print(f"README: not the picture that it should be: {', '.join(wrong)}" if wrong else "README: every command ran")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
