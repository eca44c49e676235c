"""What was tried, counted over all tests of a session and told at its end."""

from __future__ import annotations

from collections import Counter

_counts: Counter[str] = Counter()


def count(what: str, number: int = 1) -> None:
    """Count things that were tried; a test that finds one of them wrong fails."""
    _counts[what] += number


def lines() -> list[str]:
    """What was counted, a line each."""
    return [f"{number:8} {what}" for what, number in sorted(_counts.items())]
