"""A short run of every fuzzer; `make fuzz` has longer ones."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY
from fuzz.session import NAMES, command, prepare

SECONDS = 5


@pytest.mark.parametrize("target", NAMES)
def test_nothing_breaks(target: str, tmp_path: Path) -> None:
    if target != "plan" and importlib.util.find_spec("atheris") is None:
        pytest.skip("no atheris: there is none for this machine")
    prepare(tmp_path, target)
    done = subprocess.run(
        [*command(tmp_path, target), f"-max_total_time={SECONDS}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DONE" in done.stderr


def test_the_fuzzer_sees_what_is_read_beyond_the_end(tmp_path: Path) -> None:
    """It would find a check of a length that is missing."""
    from fuzz.harness import build

    source = REPOSITORY / "csrc" / "init" / "decode.h"
    broken = tmp_path / "broken" / "init"
    broken.mkdir(parents=True)
    check = "(size_t)(in->end - in->at) < size)"
    text = source.read_text()
    assert text.count(check) == 2
    (broken / "decode.h").write_text(text.replace(f"|| {check}", "|| size > 1 << 20)"))
    for other in (*source.parent.glob("*"), *source.parent.parent.glob("common/*")):
        target = broken.parent / other.parent.name / other.name
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            target.write_bytes(other.read_bytes())
    program = build(tmp_path / "bin", sources=broken.parent)
    done = subprocess.run(
        [program, "-runs=200000", "-max_total_time=30", f"-artifact_prefix={tmp_path}/"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Test unit written to" in done.stderr
