"""Read the Test Anything Protocol as the validation programs of runtime-tools write it.

They print several documents one after the other, put JSON into the YAML blocks, and some of them
report a failure by such a block alone, without a test point.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]

_POINT = re.compile(r"(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?:- )?(?P<rest>.*)")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(?P<kind>skip|todo)\S*\s*(?P<reason>.*)", re.IGNORECASE)
_PLAN = re.compile(r"1\.\.(?P<count>\d+)\s*(?:#.*)?$")


@dataclass
class Point:
    """One test point: what was tested, how it came out and what was said about it."""

    outcome: Outcome
    description: str
    reason: str = ""


@dataclass
class Document:
    """One TAP stream, from its version line to the next."""

    points: list[Point] = field(default_factory=list)
    plan: int | None = None
    loose_errors: list[str] = field(default_factory=list)


def _block_reason(block: str) -> tuple[str, bool]:
    """What a YAML block says in one line, and whether it says that something is an error."""
    try:
        value = json.loads(block)
    except ValueError:
        return " ".join(block.split()), False
    if not isinstance(value, dict):
        return str(value), False
    parts = [
        f"{key}: {' '.join(str(value[key]).split())}"
        for key in ("error", "stderr", "expected", "actual")
        if value.get(key) not in (None, "")
    ]
    return "; ".join(parts), bool(value.get("error"))


def _point(line: str) -> Point | None:
    match = _POINT.match(line)
    if match is None:
        return None
    rest = match["rest"]
    directive = _DIRECTIVE.search(rest)
    if directive is not None:
        return Point("skipped", rest[: directive.start()].strip(), directive["reason"].strip())
    return Point("failed" if match["not"] else "passed", rest.strip())


def parse(text: str) -> list[Document]:
    """Split a program's standard output into documents.

    Lines that are no TAP are ignored: the programs print debugging aids between.
    """
    documents: list[Document] = []
    block: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("TAP version"):
            documents.append(Document())
            block = None
            continue
        if not documents:
            continue
        document = documents[-1]
        if block is not None:
            if line.strip() != "...":
                block.append(line)
                continue
            reason, is_error = _block_reason("\n".join(block))
            block = None
            if document.points and not document.points[-1].reason:
                document.points[-1].reason = reason
            if is_error and not document.points:
                document.loose_errors.append(reason)
        elif line.strip() == "---":
            block = []
        elif (plan := _PLAN.match(line)) is not None:
            document.plan = int(plan["count"])
        elif (point := _point(line)) is not None:
            document.points.append(point)
        elif line.startswith("# ") and document.points and not document.points[-1].reason:
            document.points[-1].reason = line[2:].strip()
    return documents


def judge(text: str, exit_status: int, stderr: str) -> list[Point]:
    """All that a program said, as test points.

    A program that ends with an error, breaks its plan, or reports an error outside a test point has
    failed one more point. A program without any point tells its result by its exit status.
    """
    words = [line for line in stderr.splitlines() if line.strip()]
    said = [line for line in words if not line.startswith("exit status ")]
    last_words = (said or words or [""])[-1]
    points: list[Point] = []
    for document in parse(text):
        points += document.points
        if document.points:
            if document.plan is not None and document.plan != len(document.points):
                run = f"{len(document.points)} of {document.plan} test points were run"
                points.append(Point("failed", "plan", run))
        else:
            points += [Point("failed", "error", reason) for reason in document.loose_errors]
    for point in points:
        if point.outcome == "failed" and not point.reason:
            point.reason = last_words
    if exit_status != 0:
        points.append(Point("failed", f"exit status {exit_status}", last_words))
    elif not points:
        points.append(Point("passed", "exit status 0"))
    return points
