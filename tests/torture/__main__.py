"""Run the long forms, some at a time, and tell the sums of what was tried: `python -m torture`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from helpers import tally

REPOSITORY = Path(__file__).resolve().parent.parent.parent

#: Parts that may run beside each other: the longest first.
PARTS: dict[str, list[str]] = {
    "security": ["tests/integration/security"],
    "faults of the runtime": ["tests/integration/faults", "-k", "calls_of_the_runtime"],
    "deaths of the runtime": ["tests/integration/faults", "-k", "runtime_is_killed"],
    "faults of the init, and other trouble": [
        *("tests/integration/faults", "-k", "not calls_of_the_runtime and not runtime_is_killed"),
    ],
    "load": ["tests/integration/load"],
}


class Part:
    """One run of pytest."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._tally = directory / f"{name}.json"
        self._log = directory / f"{name}.log"
        environment = {**os.environ, "PYRUNC_TORTURE": "1", "PYRUNC_TALLY": str(self._tally)}
        command = [sys.executable, "-P", "-m", "pytest", "--timeout", "7200", *PARTS[name]]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def passed(self) -> bool:
        return self._process.returncode == 0

    def tried(self) -> Counter[str]:
        return tally.load(self._tally) if self._tally.exists() else Counter()

    def told(self) -> str:
        return self._log.read_text(errors="replace")


def main() -> int:
    waiting = list(PARTS)
    running: list[Part] = []
    tried: Counter[str] = Counter()
    failed = []
    with tempfile.TemporaryDirectory(prefix="pyrunc-torture-") as directory:
        while waiting or running:
            while waiting and len(running) < 2 * (os.cpu_count() or 1):  # they wait a lot
                running.append(Part(waiting.pop(0), Path(directory)))
                print(f"--- {running[-1].name}", flush=True)
            for part in [part for part in running if part.ended]:
                running.remove(part)
                tried += part.tried()
                print(f"{part.told()}\n=== {part.name}: {'passed' if part.passed else 'FAILED'}")
                failed += [] if part.passed else [part.name]
            time.sleep(0.2)
    print(f"\ntried until {datetime.now(UTC):%Y-%m-%d}:")
    print(*tally.lines(tried), sep="\n")
    for name in failed:
        print(f"torture: {name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
