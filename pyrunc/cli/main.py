"""Entry point of the command line: finds the command and imports only what it needs."""

from __future__ import annotations

import sys

from pyrunc import __version__


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code of the process."""
    sys.stdout.write(f"pyrunc version {__version__}\n")
    sys.stdout.flush()
    return 0
