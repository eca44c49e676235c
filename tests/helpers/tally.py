"""What was tried, counted over all tests of a session and told at its end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

_counts: Counter[str] = Counter()


def count(what: str, number: int = 1) -> None:
    """Count things that were tried; a test that finds one of them wrong fails."""
    _counts[what] += number


def counts() -> Counter[str]:
    """What was counted."""
    return _counts


def lines(counted: Counter[str]) -> list[str]:
    """Counts, a line each."""
    return [f"{number:8,} {what}" for what, number in sorted(counted.items())]


def save(path: Path) -> None:
    """Write what was counted to a file."""
    path.write_text(json.dumps(_counts))


def load(path: Path) -> Counter[str]:
    """What `save` wrote."""
    return Counter(json.loads(path.read_text()))
