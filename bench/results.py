"""Figures, what they are compared with, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple


class Target(NamedTuple):
    """At most `limit` times what `reference` has in the same row, or in `row`; or at most `limit` as such."""

    limit: float
    reference: str = ""
    row: str = ""


#: By row, what pyrunc is to reach.
TARGETS = {
    "run": Target(0.6, "runc"),
    "create + start + state + delete": Target(0.9, "runc"),
    "state": Target(1.25, "python3", "interpreter"),
    "start": Target(1.25, "python3", "interpreter"),
    "kill": Target(1.25, "python3", "interpreter"),
    "delete": Target(1.25, "python3", "interpreter"),
    "run like Docker, filter cached": Target(0.6, "runc"),
    "run like Docker, filter not cached": Target(0.9, "runc"),
    "smallest memory limit": Target(512),
    "waiting container beyond crun's": Target(1024),
    "200 runs by the library": Target(0.6, "crun"),
    "200 runs by the library, 8 at a time": Target(0.6, "crun"),
}

OURS = "pyrunc"


class Row:
    """One thing measured: samples by subject."""

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self.samples: dict[str, list[float]] = {}

    def median(self, subject: str) -> float | None:
        """The median of a subject's samples, None if it has none."""
        samples = self.samples.get(subject)
        return statistics.median(samples) if samples else None


class Results:
    """All rows, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.notes: list[str] = []

    def add(self, name: str, unit: str, subject: str, value: float) -> None:
        """One more sample."""
        row = self.rows.setdefault(name, Row(name, unit))
        assert row.unit == unit
        row.samples.setdefault(subject, []).append(value)

    def verdict(self, row: Row) -> tuple[float, Target, bool] | None:
        """Ratio (or plain figure), target, and whether it is met; None for a row without a target."""
        target = TARGETS.get(row.name)
        ours = row.median(OURS)
        if target is None or ours is None:
            return None
        if not target.reference:
            return ours, target, ours <= target.limit
        reference = self.rows.get(target.row or row.name)
        theirs = reference.median(target.reference) if reference else None
        if not theirs:
            return None
        ratio = ours / theirs
        return ratio, target, ratio <= target.limit

    def document(self, host: dict[str, Any]) -> dict[str, Any]:
        """Everything, for a JSON file."""
        rows = []
        for row in self.rows.values():
            verdict = self.verdict(row)
            rows.append(
                {
                    "name": row.name,
                    "unit": row.unit,
                    "median": {subject: row.median(subject) for subject in row.samples},
                    "samples": row.samples,
                    "target": None
                    if verdict is None
                    else {
                        "limit": verdict[1].limit,
                        "of": verdict[1].reference,
                        "value": verdict[0],
                        "met": verdict[2],
                    },
                }
            )
        return {"host": host, "notes": self.notes, "rows": rows}


Measure = Callable[[], None]
