"""The programs of examples/, as their users start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.leaks import Leaks
from helpers.runtime import Runtime

pytestmark = pytest.mark.root

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *map(str, arguments)]


@contextmanager
def started(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The program, killed at the end if it has not ended."""
    with subprocess.Popen(
        command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


# ---- supervisor.py -----------------------------------------------------------------------------


def test_supervisor(
    runtime: Runtime, bundle: Bundle, make_bundle: Any, prefix: str, no_leaks: Leaks
) -> None:
    bundle.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done")
    failing = make_bundle().sh("exit 3")
    stubborn = make_bundle().sh("trap '' TERM; while :; do sleep 0.1; done")
    config = bundle.path / "services.toml"
    config.write_text(
        f'[{prefix}web]\nbundle = "{bundle.path}"\n'
        f'[{prefix}job]\nbundle = "{failing.path}"\ndelay = 0.05\n'
        f'[{prefix}deaf]\nbundle = "{stubborn.path}"\ngrace = 0.5\n'
    )
    with started("supervisor.py", config, runtime.root) as program:
        wait_until(lambda: runtime.status(f"{prefix}web") == "running", "the service")
        wait_until(lambda: runtime.status(f"{prefix}deaf") == "running", "the other service")
        first = runtime.state(f"{prefix}web")["pid"]
        runtime("kill", f"{prefix}web", "KILL")

        def again() -> bool:
            done = runtime("state", f"{prefix}web", check=False)
            state = json.loads(done.stdout) if done.returncode == 0 else {"status": "none"}
            return state["status"] == "running" and state["pid"] != first

        wait_until(again, "the service to be started again")
        program.send_signal(signal.SIGTERM)
        said = program.communicate(timeout=60)[0]
    assert program.returncode == 0, said
    assert said.count(f"{prefix}web: started") == 2
    assert f"{prefix}web: exited with 137" in said
    assert said.count(f"{prefix}job: exited with 3") >= 2
    assert f"{prefix}deaf: does not stop, killed" in said


# ---- ci_runner.py ------------------------------------------------------------------------------


def test_ci_runner(runtime: Runtime, rootfs: Path, tmp_path: Path, no_leaks: Leaks) -> None:
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(f"""
rootfs = "{rootfs}"
parallel = 2
[jobs.build]
script = "pwd; echo $A > made; cat made; touch /tmp/x; ! touch /bin/x 2>/dev/null"
env = {{ A = "b" }}
[jobs.broken]
script = "echo before; false; echo after"
[jobs.slow]
script = "echo began; sleep 1000"
timeout = 1
[jobs.forks]
script = "sleep 100 & sleep 100 & sleep 100 & sleep 100 & echo survived"
pids = 3
""")
    done = subprocess.run(
        command("ci_runner.py", pipeline, runtime.root),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.returncode == 1
    parts = {part.split(":")[0]: part for part in done.stdout.split("== ")[1:]}
    assert parts["build"].startswith("build: passed")
    assert parts["build"].endswith("/work\nb\n")
    assert parts["broken"].startswith("broken: exit code 1")
    assert parts["broken"].endswith("before\n")
    assert "timed out after 1 s" in parts["slow"]
    assert parts["slow"].endswith("began\n")
    assert "survived" not in parts["forks"]


# ---- pytest_container.py -----------------------------------------------------------------------


def test_pytest_plugin(runtime: Runtime, rootfs: Path, tmp_path: Path, no_leaks: Leaks) -> None:
    (tmp_path / "test_it.py").write_text("""
seen = []

def test_one(container):
    seen.append(container.container.id)
    assert container.run("hostname").stdout == b"pyrunc\\n"
    container.write("/tmp/file", b"data")
    assert container.run("cat", "/tmp/file").stdout == b"data"
    assert container.run("touch", "/bin/x").exit_code != 0
    container.container.exec(["sleep", "1000"])

def test_two(container):
    assert container.container.id not in seen
    assert container.run("test", "-e", "/tmp/file").exit_code == 1
    assert b"127.0.0.1" in container.run("ip", "address").stdout
    assert container.run("ip", "link").stdout.count(b"mtu") == 1
""")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "pytest_container", "test_it.py"),
            *("--container-rootfs", rootfs, "--container-state", runtime.root),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


# ---- snippets.py -------------------------------------------------------------------------------


@pytest.fixture
def snippets(runtime: Runtime, rootfs: Path, tmp_path: Path, no_leaks: Leaks) -> Iterator[Path]:
    """The socket of a running service."""
    path = tmp_path / "socket"
    with started("snippets.py", path, rootfs, runtime.root) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield path


def ask(path: Path, *requests: str) -> list[dict[str, Any]]:
    """Answers to lines, over one connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with connection.makefile("rw") as file:
            answers = []
            for request in requests:
                file.write(request + "\n")
                file.flush()
                answers.append(json.loads(file.readline()))
            return answers


def snippet(path: Path, code: str) -> dict[str, Any]:
    return ask(path, json.dumps({"code": code}))[0]


def test_snippets_run(snippets: Path) -> None:
    first, wrong, second = ask(
        snippets, '{"code": "echo out; echo err >&2; exit 3"}', "{]", '{"code": "echo again"}'
    )
    assert first == {"exitCode": 3, "stdout": "out\n", "stderr": "err\n", "stopped": None}
    assert "not a request" in wrong["error"]
    assert second["stdout"] == "again\n"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("ping -c1 127.0.0.1", "permission denied"),
        ("wget -O- http://127.0.0.1/", "Operation not permitted"),
        ("mount -t tmpfs x /tmp", "permission denied"),
        ("unshare -U true", "Operation not permitted"),
        ("touch /bin/x", "Read-only file system"),
        ("cp /bin/busybox /tmp/busybox; /tmp/busybox id", "Permission denied"),
        ("cat /dev/sda", "No such file"),
        ("dd if=/dev/zero of=/tmp/big bs=1M count=20", "No space left"),
    ],
)
def test_what_snippets_cannot_do(snippets: Path, code: str, complaint: str) -> None:
    answer = snippet(snippets, code)
    assert answer["exitCode"] != 0
    assert complaint in answer["stderr"]


def test_what_snippets_are(snippets: Path) -> None:
    answer = snippet(
        snippets, "id -u; grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status"
    )
    assert answer["stdout"].split() == [
        *("65534", "CapEff:", "0" * 16, "CapBnd:", "0" * 16),
        *("NoNewPrivs:", "1", "Seccomp:", "2"),
    ]


def test_snippets_that_are_stopped(snippets: Path) -> None:
    assert snippet(snippets, "yes")["stopped"] == "output"
    began = time.monotonic()
    assert snippet(snippets, "sleep 1000")["stopped"] == "time"
    assert time.monotonic() - began >= 5
    bomb = snippet(snippets, "f() { f | f & }; f; sleep 1; echo end")
    assert "fork" in bomb["stderr"]
    hog = snippet(snippets, "head -c 200m /dev/zero | tail -c 200m; echo $?")
    assert "137" in hog["stdout"] or hog["exitCode"] == 137
