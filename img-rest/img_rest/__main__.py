"""The command img-rest: it answers to signals at once, and then starts what `command` puts together."""

from __future__ import annotations

import sys

from img_contract.start import exit_on_signals, importing


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see `command.main`."""
    exit_on_signals()
    with importing():
        from img_rest.command import main as start  # noqa: PLC0415  it takes most of the time until the start

    return start(arguments)


if __name__ == "__main__":
    sys.exit(main())
