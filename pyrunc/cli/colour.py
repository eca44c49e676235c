"""Colour for people: only on a terminal, and not where they do not want it (https://no-color.org)."""

from __future__ import annotations

import os

BOLD, RED, GREEN, YELLOW, CYAN = "1", "31", "32", "33", "36"


def wanted(fd: int = 1) -> bool:
    """Whether what is written to `fd` may have colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb"):
        return False
    return os.isatty(fd)


def paint(text: str, colour: str, *, on: bool) -> str:
    """`text` in a colour, where that is `on`."""
    return f"\x1b[{colour}m{text}\x1b[0m" if on and text else text
