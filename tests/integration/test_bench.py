"""The measuring itself. How fast anything is, is no test; `make bench` tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.root


def test_figures_of_everybody(tmp_path: Path) -> None:
    """$PYRUNC_BENCH_ROUNDS and $PYRUNC_BENCH_OUTPUT make it worth reading, where only tests are run."""
    output = Path(os.environ.get("PYRUNC_BENCH_OUTPUT", tmp_path / "output"))
    rounds = os.environ.get("PYRUNC_BENCH_ROUNDS", "1")
    courses = ("floors", "run", "lifecycle", "systemd", "docker")
    subprocess.run(
        [sys.executable, "-P", "-m", "bench", "--rounds", rounds, "--output", output, *courses],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=True,
        timeout=500,
    )
    document = json.loads((output / "results.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert {"interpreter", "run", "create", "exec", "run like Docker, filter cached"} <= set(rows)
    assert ("run in a scope" in rows) == Path("/run/systemd/system").is_dir()
    for row in rows.values():
        assert row["unit"] != "ms" or all(value > 0 for value in row["median"].values()), row
    text = (output / "results.txt").read_text()
    assert "≤ 0.6 of runc" in text
    assert (output / "results.svg").read_text().startswith("<svg")
