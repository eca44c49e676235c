"""Fuzz every target for a share of the time: `python -m fuzz --minutes 5 [TARGET...]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from fuzz.harness import REPOSITORY
from fuzz.session import NAMES, command, prepare

WORK = REPOSITORY / "build" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all of them together")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    arguments = parser.parse_args()
    names = arguments.targets or list(NAMES)
    if unknown := sorted({*names} - {*NAMES}):
        parser.error(f"no such target: {', '.join(unknown)}")
    seconds = max(1, round(arguments.minutes * 60 / len(names)))
    failed = [name for name in names if not run(WORK, name, seconds)]
    for name in failed:
        print(f"fuzz: {name} failed: see {WORK}/{name}-*", file=sys.stderr)
    return 1 if failed else 0


def run(work: Path, name: str, seconds: int) -> bool:
    print(f"--- {name}: {seconds} s", flush=True)
    prepare(work, name)
    done = subprocess.run([*command(work, name), f"-max_total_time={seconds}"], check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
