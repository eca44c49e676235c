"""OCI conformance: every validation program of runtime-tools, against pyrunc and runc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.mark.root
@pytest.mark.slow
def test_nothing_fails_that_is_not_explained(
    runtime_binary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled():
        done = subprocess.run(
            [sys.executable, "-m", "conformance.run", "--pyrunc", runtime_binary],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    assert done.returncode == 0, "the table above tells what failed"
