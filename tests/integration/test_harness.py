"""The harness itself: that it runs containers, and that it sees what is left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.leaks import CGROUPS, Leaks
from helpers.runtime import Runtime
from helpers.terminal import ConsoleSocket, TerminalProcess

pytestmark = pytest.mark.root


def test_run_returns_output_and_exit_status(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.sh("echo $$; hostname; exit 7")
    done = runtime.run(container_id, bundle.path, check=False)
    assert (done.stdout, done.returncode) == ("1\ncontainer\n", 7)


def test_lifecycle_by_separate_commands(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    bundle.sh("echo started; exec sleep 1000")
    runtime.create(container_id, bundle.path)
    assert runtime.status(container_id) == "created"
    runtime("start", container_id)
    runtime.wait(container_id, "running")
    runtime("kill", container_id, "KILL")
    runtime.wait(container_id, "stopped")
    runtime("delete", container_id)
    assert runtime.status(container_id) == "none"
    assert (bundle.path / "output").read_text() == "started\n"


def test_a_terminal_of_ones_own(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["process"]["terminal"] = True
    bundle.sh("stty size; read line; echo got $line")
    command = runtime.command("run", "--bundle", bundle.path, container_id)
    with TerminalProcess(command, rows=30, columns=100) as terminal:
        terminal.expect("30 100")
        terminal.send("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 0
        assert terminal.modes_restored()


def test_a_terminal_by_console_socket(
    runtime: Runtime, bundle: Bundle, container_id: str, workspace: Path
) -> None:
    bundle.config["process"]["terminal"] = True
    bundle.sh("tty; read line; echo got $line")
    with ConsoleSocket(workspace / f"{container_id}.sock") as console:
        runtime.create(container_id, bundle.path, "--console-socket", console.path)
        screen = console.receive()
    runtime("start", container_id)
    screen.expect("/dev/pts/0")
    screen.send("words\n")
    screen.expect("got words")
    screen.close()


def test_leaks_are_seen(leaks: Leaks, workspace: Path, prefix: str, tmp_path: Path) -> None:
    assert leaks.found() == []
    orphan = subprocess.run(
        ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        text=True,
        check=True,
    )
    mounted = workspace / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=True)
    hierarchy = next(path for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists())
    (hierarchy / f"{prefix}left").mkdir()
    (tmp_path / "left").mkdir()
    with (tmp_path / "open").open("w"):
        kinds = {line.partition(":")[0].split()[0] for line in leaks.found(tmp_path)}
    assert kinds == {"process", "mount", "cgroup", "open", "state"}

    leaks.remove()
    assert leaks.found() == []
    assert not os.path.exists(f"/proc/{orphan.stdout.strip()}")
    mounted.rmdir()
