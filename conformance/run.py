"""Run every validation program against pyrunc and against runc, and tell the two apart.

Writes the counts as JSON, prints a table and the reason of each failure. The exit status is not 0
when pyrunc fails what runc passes, when a failure of pyrunc is not explained in `known.py`, or when
something explained there did not happen.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance import tap
from conformance.known import KNOWN, Known
from conformance.tools import ToolError, Tools, install

ROOT = Path(__file__).resolve().parent.parent
OUTCOMES: tuple[tap.Outcome, ...] = ("passed", "failed", "skipped")


@dataclass
class Result:
    """What one program said about one runtime."""

    points: list[tap.Point]
    seconds: float
    left: dict[str, list[str]]

    def counts(self) -> dict[str, int]:
        """Number of test points by outcome."""
        by_outcome = Counter(point.outcome for point in self.points)
        return {outcome: by_outcome[outcome] for outcome in OUTCOMES}

    def failures(self) -> list[tap.Point]:
        """The test points that failed."""
        return [point for point in self.points if point.outcome == "failed"]


Results = dict[str, Result]
Failure = tuple[str, tap.Point]


def run_program(program: Path, runtime: Path, directory: Path, limit: float) -> Result:
    """Run one program in its own session, mount namespace and scratch directory.

    Args:
        limit: seconds after which the program is killed and has failed.
    """
    scratch = tempfile.mkdtemp(prefix="pyrunc-conformance-", dir="/var/tmp")
    # Containers with id mappings must get through to their bundle.
    os.chmod(scratch, 0o755)
    order = {
        "program": str(program),
        "runtime": str(runtime),
        "directory": str(directory),
        "scratch": scratch,
        "limit": limit,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", ROOT / "conformance" / "supervise.py", json.dumps(order)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.rmdir(scratch)
    if done.returncode != 0:
        words = done.stderr.strip().rpartition("\n")[2]
        return Result([tap.Point("failed", "supervisor", words)], 0.0, {})
    said: dict[str, Any] = json.loads(done.stdout)
    if said["timed_out"]:
        points = [point for document in tap.parse(said["stdout"]) for point in document.points]
        points.append(tap.Point("failed", "time limit", f"killed after {limit:g} s"))
    else:
        points = tap.judge(said["stdout"], said["exit_status"], said["stderr"])
    return Result(points, said["seconds"], said["left"])


def _same(point: tap.Point) -> str:
    """Description of a test point without what differs from run to run."""
    return re.sub(r"\d+", "N", point.description)


def compare_with_known(
    results: Results, known: Iterable[Known]
) -> tuple[list[Failure], list[Known]]:
    """Failures that no entry explains, and entries that explain nothing, though they should."""
    entries = [entry for entry in known if entry.program in results and entry.when()]
    unused = [entry for entry in entries if entry.always]
    unexplained = []
    for program, result in results.items():
        for point in result.failures():
            matching = [entry for entry in entries if entry.explains(program, point.description)]
            if not matching:
                unexplained.append((program, point))
            unused = [entry for entry in unused if entry not in matching]
    return unexplained, unused


def regressions(failures: Iterable[Failure], theirs: Results) -> list[Failure]:
    """Those of the failures that runc does not have."""
    found = []
    for program, point in failures:
        their_failures = {_same(other) for other in theirs[program].failures()}
        if _same(point) not in their_failures:
            found.append((program, point))
    return found


def reason_of(program: str, point: tap.Point) -> str:
    """Why a test point failed: as explained by us, else as told by the program."""
    for entry in KNOWN:
        if entry.explains(program, point.description):
            return entry.why
    return point.reason or "no reason given"


def print_table(results: Mapping[str, Results]) -> None:
    """Counts of all programs, runtimes side by side, then the failures and their reasons."""
    runtimes = list(results)
    programs = list(results[runtimes[0]])
    width = max(map(len, programs))
    print(f"{'':{width}}" + "".join(f"  {name:>30}" for name in runtimes))
    heading = f"{'passed':>8} {'failed':>7} {'skipped':>8} {'s':>4}"
    print(f"{'program':{width}}" + f"  {heading:>30}" * len(runtimes))
    for program in programs:
        cells = []
        for runtime in runtimes:
            result = results[runtime][program]
            c = result.counts()
            counts = f"{c['passed']:>8} {c['failed']:>7} {c['skipped']:>8} {result.seconds:>4.0f}"
            cells.append(f"  {counts:>30}")
        print(f"{program:{width}}" + "".join(cells))
    for runtime in runtimes:
        print(f"\nfailed by {runtime}:")
        for program, result in results[runtime].items():
            grouped = Counter((_same(p), reason_of(program, p)) for p in result.failures())
            for (description, reason), times in grouped.items():
                count = f" ({times} times)" if times > 1 else ""
                print(f"  {program}: {description}{count}\n      {reason[:300]}")
        for program, result in results[runtime].items():
            for kind, things in result.left.items():
                if things:
                    print(f"  left by {program}: {kind}: {', '.join(things)[:200]}")


def _lines(failures: Iterable[Failure]) -> set[str]:
    return {f"{program}: {point.description}" for program, point in failures}


def run_all(
    tools: Tools, runtimes: Mapping[str, Path], programs: list[str], limit: float
) -> dict[str, Results]:
    """Every program against every runtime, one at a time."""
    results: dict[str, Results] = {name: {} for name in runtimes}
    progress = sys.stderr.isatty()
    for program in programs:
        for name, runtime in runtimes.items():
            if progress:
                print(f"\r\033[K{program} ({name})", end="", file=sys.stderr, flush=True)
            results[name][program] = run_program(
                tools.programs[program], runtime, tools.directory, limit
            )
    if progress:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return results


def write_json(results: Mapping[str, Results], path: Path) -> None:
    """Counts by runtime and program."""
    document = {
        runtime: {program: result.counts() for program, result in by_program.items()}
        for runtime, by_program in results.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--pyrunc",
        type=Path,
        default=Path(os.environ.get("PYRUNC", ROOT / ".venv" / "bin" / "pyrunc")),
        help="the runtime under test (default: $PYRUNC, else .venv/bin/pyrunc)",
    )
    parser.add_argument("--runc", type=Path, default=Path("/usr/sbin/runc"))
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "conformance")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "conformance.json")
    parser.add_argument("--limit", type=float, default=90.0, help="seconds for each program")
    parser.add_argument("program", nargs="*", help="names of the programs (default: all)")
    return parser.parse_args()


def main() -> int:
    """Run, report, and return the exit status."""
    options = arguments()
    if os.geteuid() != 0:
        print("conformance: must be root to run containers", file=sys.stderr)
        return 2
    runtimes = {"pyrunc": options.pyrunc.absolute(), "runc": options.runc}
    for name, path in runtimes.items():
        if not os.access(path, os.X_OK):
            print(f"conformance: no {name} at {path}", file=sys.stderr)
            return 2
    try:
        tools = install(options.build)
    except ToolError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    unknown = [name for name in options.program if name not in tools.programs]
    if unknown:
        print(f"conformance: no such program: {', '.join(unknown)}", file=sys.stderr)
        return 2

    # The programs share the names of their cgroups: with those of another checkout, too.
    with open("/var/tmp/pyrunc-conformance.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = run_all(tools, runtimes, options.program or list(tools.programs), options.limit)
    write_json(results, options.json)
    print_table(results)

    unexplained, unseen = compare_with_known(results["pyrunc"], KNOWN)
    worse = regressions(unexplained, results["runc"])
    for title, lines in (
        ("passed by runc and failed by pyrunc", _lines(worse)),
        ("failed by pyrunc and not explained", _lines(unexplained)),
        (
            "explained as failing, but not failed by pyrunc",
            {f"{entry.program}: {entry.point}" for entry in unseen},
        ),
    ):
        if lines:
            print(f"\n{title}:", *sorted(lines), sep="\n  ")
    totals = Counter(point.outcome for r in results["pyrunc"].values() for point in r.points)
    print(f"\n{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if unexplained or unseen else 0


if __name__ == "__main__":
    sys.exit(main())
