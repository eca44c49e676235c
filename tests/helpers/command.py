"""Run a command line to its end and say all when it fails."""

from __future__ import annotations

import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Seconds. Nothing that the tests run takes this long, unless it hangs.
LIMIT = 60.0

Completed = subprocess.CompletedProcess[str]


def run_command(
    command: Sequence[str],
    *,
    check: bool = True,
    stdin: str | None = None,
    limit: float = LIMIT,
    **options: Any,
) -> Completed:
    """Run `command` with its output captured, and its input empty unless `stdin` is given.

    Raises:
        AssertionError: it failed, and `check` was not False.
        subprocess.TimeoutExpired: it took longer than `limit` seconds.
    """
    if stdin is None:
        options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        **options,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def closed_directory(path: Path) -> Path | None:
    """The first directory on the way to `path` that other users cannot search, or None."""
    for directory in reversed(path.parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Poll until `condition` holds; fail after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit:g} s for {what}")
        time.sleep(0.01)
