"""Sums up the results that came back from the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from vm.sessions import Session


class Failure(NamedTuple):
    """A test that failed, as pytest names it, and the end of its traceback."""

    test: str
    traceback: str


class Summary(NamedTuple):
    """Of one session: how many tests there were, and what is wrong with it."""

    name: str
    passed: int
    failed: int
    skipped: int
    problem: str
    failures: tuple[Failure, ...] = ()


def summarize(session: Session, directory: Path, statuses: dict[str, int]) -> Summary:
    """Read the results of one session: a session that ran no test is as wrong as a failed one."""
    path = directory / f"{session.name}.xml"
    if session.name not in statuses or not path.exists():
        return Summary(session.name, 0, 0, 0, "did not run to its end")
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    failures = []
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        for key in counts:
            counts[key] += int(suite.get(key, 0))
        for case in suite.iter("testcase"):
            failures += [
                Failure(_name(case), _end_of(result.text or ""))
                for result in case
                if result.tag in ("failure", "error")
            ]
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    problem = ""
    if failed or statuses[session.name] != 0:
        problem = f"exit status {statuses[session.name]}"
    elif not passed:
        problem = "no test passed"
    return Summary(session.name, passed, failed, counts["skipped"], problem, tuple(failures))


def _name(case: ElementTree.Element) -> str:
    file = case.get("file", "")
    classes = case.get("classname", "").removeprefix(file.removesuffix(".py").replace("/", "."))
    return f"{file}{classes.replace('.', '::')}::{case.get('name')}"


def again(chosen: list[Session], summaries: list[Summary]) -> list[Session]:
    """What to run once more: of each session the tests that failed.

    An emulated machine is slow, and what else the host does may make it slower than any time limit foresees. Empty if
    nothing failed, or if something is wrong that is not about single tests.
    """
    if any(s.problem and not s.failures for s in summaries):
        return []
    return [
        session._replace(tests=tuple(dict.fromkeys(f.test for f in summary.failures)))
        for session, summary in zip(chosen, summaries, strict=True)
        if summary.failures
    ]


def _end_of(traceback: str, lines: int = 30) -> str:
    """The part that says what went wrong."""
    return "\n".join(f"    {line}" for line in traceback.splitlines()[-lines:])


def read_statuses(directory: Path) -> dict[str, int]:
    """Exit status of each session that ended; none if the machine did not get that far."""
    try:
        statuses: dict[str, int] = json.loads((directory / "status.json").read_text())
    except FileNotFoundError:
        return {}
    return statuses


def report(summaries: list[Summary]) -> str:
    """The summary as a person reads it: what failed, each session, and in the last line the sum."""
    lines = [f"{s.name}: FAILED {f.test}\n{f.traceback}" for s in summaries for f in s.failures]
    lines += [
        f"{s.name}: {s.passed} passed, {s.failed} failed, {s.skipped} skipped"
        + (f" ({s.problem})" if s.problem else "")
        for s in summaries
    ]
    passed = sum(s.passed for s in summaries)
    failed = sum(s.failed for s in summaries)
    skipped = sum(s.skipped for s in summaries)
    return "\n".join([*lines, f"{passed} passed, {failed} failed, {skipped} skipped"])
