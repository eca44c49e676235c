"""Scripts that call runc, with RUNC=pyrunc and with Debian's runc in the same run: exit codes, outputs, and JSON
documents field for field."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.differential.workshop import crun_wrapper
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

SCRIPTS = Path(__file__).parent / "scripts"

#: Fields that differ from one container to the next, whoever runs it.
OF_THE_CONTAINER = ("pid", "created")
#: Fields that a runtime of today has, or has otherwise, where runc 1.1 is older than the specification.
OF_THE_VERSION = ("ociVersion",)

#: Runs a command, and takes away what it leaves behind, as an engine's shim does: a container's first process does
#: not end before the executed ones are taken away, and the first process of a host may be slow at that.
REAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
while True:
    pid, status = os.wait()
    if pid == child:
        sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def run_script(bundle: Bundle, container_id: str, tmp_path: Path) -> Callable[..., Path]:
    """Runs a script with a runtime; returns the directory of what it kept."""

    def run_script_(name: str, runtime: Runtime) -> Path:
        out = tmp_path / runtime.name
        out.mkdir()
        runtime.root.mkdir(exist_ok=True)
        runtime.used.add(container_id)
        environment = {
            **os.environ,
            "RUNC": str(runtime.binary),
            "ROOT": str(runtime.root),
            "BUNDLE": str(bundle.path),
            "ID": container_id,
            "OUT": str(out),
        }
        subprocess.run(
            [sys.executable, "-c", REAPER, "sh", str(SCRIPTS / f"{name}.sh")],
            env=environment,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        return out

    return run_script_


@pytest.fixture
def outputs(
    run_script: Callable[..., Path], runtime: Runtime, runc: Runtime
) -> Callable[[str], tuple[Path, Path]]:
    return lambda name: (run_script(name, runtime), run_script(name, runc))


def fields(value: Any) -> Any:
    """A document with what is the same whoever has run the container: names, types, and most values."""
    if isinstance(value, list):
        return [fields(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: type(item).__name__ if name in OF_THE_CONTAINER + OF_THE_VERSION else fields(item)
        for name, item in value.items()
    }


def shape(value: Any) -> Any:
    """A document's names and types, for one of measurements."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def compare(ours: Path, theirs: Path, *, measured: tuple[str, ...] = ()) -> None:
    assert lines(ours / "codes") == lines(theirs / "codes")
    names = sorted(path.name for path in theirs.iterdir() if path.is_file())
    assert sorted(path.name for path in ours.iterdir() if path.is_file()) == names
    for name in names:
        mine, other = (directory / name for directory in (ours, theirs))
        if name in measured or name.endswith((".err", "pid")):
            continue  # errors are held side by side in test_wrong_uses
        if name.endswith(".json") and other.read_text():
            documents = [json.loads(path.read_text()) for path in (mine, other)]
            assert fields(documents[0]) == fields(documents[1]), name
            assert order(documents[0]) == order(documents[1]), name
        else:
            assert mine.read_text() == other.read_text(), name


def order(value: Any) -> Any:
    """The names of a document in their order, which some read by eye or with sed."""
    if isinstance(value, dict):
        return [(name, order(item)) for name, item in value.items()]
    return [order(item) for item in value] if isinstance(value, list) else None


def test_the_life_of_a_container(
    bundle: Bundle, outputs: Callable[[str], tuple[Path, Path]]
) -> None:
    bundle.args("sleep", "1000")
    bundle.config["annotations"] = {"org.example.key": "value"}
    bundle.save()
    process = {**bundle.config["process"], "args": ["sh", "-c", "echo $0 of a file", "word"]}
    (bundle.path / "process.json").write_text(json.dumps(process))
    ours, theirs = outputs("life")
    statistics = ("events.json", "events-updated.json")
    compare(ours, theirs, measured=(*statistics, "ps-created.json"))
    for path in (ours, theirs):
        (pid,) = json.loads((path / "ps-created.json").read_text())
        assert str(pid) == (path / "pid").read_text()
    for name in statistics:
        mine, other = (json.loads((path / name).read_text()) for path in (ours, theirs))
        assert (mine["type"], mine["id"]) == (other["type"], other["id"])
        # what runc 1.1 counts is counted, under the same names
        assert missing(shape(other["data"]), shape(mine["data"])) == []
    limits = json.loads((ours / "events-updated.json").read_text())["data"]
    assert limits["memory"]["usage"]["limit"] == 67108864
    assert limits["pids"]["limit"] == 50


def missing(wanted: Any, found: Any, at: str = "") -> list[str]:
    """The fields of `wanted` that `found` has not, or has of another type.

    What is zero or empty is left out of them: one container may have read from a disk, or been throttled, and the
    other not.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            problem
            for name, value in wanted.items()
            if name in found or isinstance(value, dict)
            for problem in (
                missing(value, found[name], f"{at}/{name}") if name in found else [f"{at}/{name}"]
            )
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        return missing(wanted[0], found[0], f"{at}/0") if wanted and found else []
    return [] if wanted == found else [f"{at}: {found}, not {wanted}"]


def test_run_in_its_forms(bundle: Bundle, outputs: Callable[[str], tuple[Path, Path]]) -> None:
    (bundle.path / "three").write_text("of the third\n")
    (bundle.path / "four").write_text("of the fourth\n")
    bundle.save()
    compare(*outputs("run"))


def test_the_spellings_of_crun(
    bundle: Bundle,
    container_id: str,
    run_script: Callable[..., Path],
    runtime: Runtime,
    make_runtime: Callable[[Path], Runtime],
    tmp_path: Path,
) -> None:
    if shutil.which("crun") is None:
        pytest.skip("crun is not installed")
    wrapper = tmp_path / "bin"
    wrapper.mkdir()
    bundle.args("sh", "-c", "echo words").save()
    config = (bundle.path / "config.json").read_text()
    process = {**bundle.config["process"], "args": ["sh", "-c", "echo $0 of a file", "word"]}
    (bundle.path / "process.json").write_text(json.dumps(process))
    outs = []
    for each in (runtime, make_runtime(crun_wrapper(wrapper))):
        (bundle.path / "config.json").write_text(config)
        each.used |= {f"{container_id}-one", f"{container_id}-two"}
        outs.append(run_script("crun", each))
    ours, theirs = outs
    (ours / "log.txt").unlink()
    if (theirs / "log.txt").exists():
        (theirs / "log.txt").unlink()
    compare(ours, theirs)


def test_logs_of_failures(bundle: Bundle, outputs: Callable[[str], tuple[Path, Path]]) -> None:
    """Both shims decode each line as JSON, and report the `msg` of the last of level error."""
    bundle.save()
    ours, theirs = outputs("logs")
    assert lines(ours / "codes") == lines(theirs / "codes")
    logs = sorted(path.name for path in theirs.glob("*.log"))
    assert logs
    for name in logs:
        records = [
            [json.loads(line) for line in lines(directory / name)] for directory in (ours, theirs)
        ]
        for log in records:
            assert {"level", "msg", "time"} <= set(log[-1])
            assert log[-1]["level"] == "error"
            # the words by which containerd and CRI-O tell that there is no container
            assert "does not exist" in log[-1]["msg"]
