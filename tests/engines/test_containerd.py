"""containerd, by its own client."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import wait_until
from helpers.criu import working_criu
from helpers.engines import Containerd
from helpers.leaks import CGROUPS
from helpers.terminal import TerminalProcess

# The size is set, and set anew, while the process runs.
WAIT_FOR_SIZE = 'until [ "$(stty size)" = "{}" ]; do sleep 0.05; done; echo right size'

pytestmark = [pytest.mark.root, pytest.mark.engines]


def test_run_passes_output_and_exit_status_on(containerd: Containerd, container_id: str) -> None:
    script = "echo pid $$; echo oops >&2; exit 3"
    done = containerd(
        *containerd.run_arguments("--rm"), container_id, "sh", "-c", script, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "pid 1\n", "oops\n")


def test_run_of_a_missing_program_fails(containerd: Containerd, container_id: str) -> None:
    done = containerd(*containerd.run_arguments("--rm"), container_id, "no-such", check=False)
    assert done.returncode != 0
    assert "no-such" in done.stderr
    assert containerd.tasks() == {}


def test_standard_input_reaches_the_process(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm")
    done = containerd(*arguments, container_id, "head", "-n", "1", stdin="words\nmore\n")
    assert done.stdout == "words\n"


def test_life_of_a_detached_container(containerd: Containerd, container_id: str) -> None:
    containerd(*containerd.run_arguments("--detach"), container_id, "sleep", "1000")
    containerd.wait(container_id, "RUNNING")

    script = "echo in; cat /proc/1/comm; exit 9"
    done = containerd(
        *("task", "exec", "--exec-id", "one", container_id, "sh", "-c", script), check=False
    )
    assert (done.returncode, done.stdout) == (9, "in\nsleep\n")

    containerd("task", "pause", container_id)
    assert containerd.tasks()[container_id] == "PAUSED"
    containerd("task", "resume", container_id)
    assert containerd.tasks()[container_id] == "RUNNING"

    assert len(containerd("task", "ps", container_id).stdout.splitlines()) == 2
    metrics = containerd("task", "metrics", container_id).stdout
    assert re.search(r"^memory\.usage(_in_bytes)? +[1-9]", metrics, re.MULTILINE)

    containerd("task", "kill", "--signal", "SIGKILL", container_id)
    containerd.wait(container_id, "STOPPED")
    assert "exit code 137" in containerd("task", "delete", container_id).stderr
    containerd("container", "rm", container_id)


def test_signals_are_delivered(containerd: Containerd, container_id: str) -> None:
    script = "trap 'exit 42' TERM; while :; do sleep 0.05; done"
    containerd(*containerd.run_arguments("--detach"), container_id, "sh", "-c", script)
    containerd.wait(container_id, "RUNNING")
    containerd("task", "kill", "--signal", "SIGTERM", container_id)
    containerd.wait(container_id, "STOPPED")
    assert "exit code 42" in containerd("task", "delete", container_id).stderr


def test_terminal(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm", "--tty")
    script = f"tty; {WAIT_FOR_SIZE.format('33 99')}; read line; echo got $line"
    command = containerd.command(*arguments, container_id, "sh", "-c", script)
    with TerminalProcess(command, rows=33, columns=99) as terminal:
        terminal.expect("/dev/pts/0")
        terminal.expect("right size")
        terminal.send("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 0


def test_terminal_of_an_exec_follows_the_size(containerd: Containerd, container_id: str) -> None:
    containerd(*containerd.run_arguments("--detach"), container_id, "sleep", "1000")
    script = f"echo ready; {WAIT_FOR_SIZE.format('41 121')}"
    command = containerd.command(
        *("task", "exec", "--tty", "--exec-id", "one", container_id, "sh", "-c", script)
    )
    with TerminalProcess(command, rows=20, columns=70) as terminal:
        terminal.expect("ready")
        terminal.resize_until(41, 121, "right size")
        assert terminal.wait() == 0


def test_memory_limit(containerd: Containerd, container_id: str) -> None:
    flags = ("--detach", "--memory-limit", str(32 << 20))
    containerd(*containerd.run_arguments(*flags), container_id, "sleep", "1000")
    group = CGROUPS / "memory" / containerd.namespace / container_id
    if not (CGROUPS / "memory").exists():
        group = CGROUPS / containerd.namespace / container_id
    names = ("memory.limit_in_bytes", "memory.max")
    limits = [(group / name).read_text() for name in names if (group / name).exists()]
    assert limits == [f"{32 << 20}\n"]


def test_bind_mount_environment_and_directory(
    containerd: Containerd, container_id: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("shared\n")
    os.chmod(tmp_path, 0o755)
    flags = (
        "--rm",
        f"--mount=type=bind,src={tmp_path},dst=/data,options=rbind:ro",
        "--env=NAME=value",
        "--cwd=/tmp",
    )
    script = "cat /data/file; pwd; echo $NAME; touch /data/new || echo refused"
    done = containerd(*containerd.run_arguments(*flags), container_id, "sh", "-c", script)
    assert done.stdout == "shared\n/tmp\nvalue\nrefused\n"


def test_read_only_root(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm", "--read-only")
    done = containerd(*arguments, container_id, "touch", "/new", check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_default_seccomp_profile(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm", "--seccomp")
    done = containerd(*arguments, container_id, "grep", "Seccomp:", "/proc/self/status")
    assert done.stdout.split() == ["Seccomp:", "2"]


def test_host_network(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm", "--net-host")
    done = containerd(*arguments, container_id, "readlink", "/proc/self/ns/net")
    assert done.stdout.strip() == os.readlink("/proc/self/ns/net")


def test_no_pivot(containerd: Containerd, container_id: str) -> None:
    arguments = containerd.run_arguments("--rm", "--no-pivot")
    done = containerd(*arguments, container_id, "ls", "/bin/busybox")
    assert done.stdout == "/bin/busybox\n"


COUNT = "n=0; while :; do n=$((n+1)); echo $n >/n; sleep 0.02; done"


def number(containerd: Containerd, container: str) -> int:
    """How far a container that counts has come."""
    words = ("task", "exec", "--exec-id", f"at{time.monotonic_ns()}", container, "cat", "/n")
    return int(containerd(*words).stdout or 0)


def test_checkpoint_and_restore(containerd: Containerd, new_id: Callable[[], str]) -> None:
    working_criu()
    first, second = new_id(), new_id()
    containerd(*containerd.run_arguments("--detach"), first, "sh", "-c", COUNT)
    wait_until(lambda: number(containerd, first) > 5, "the container to count")
    words = ("container", "checkpoint", "--task", "--rw", "--image")
    containerd(*words, first, "localhost/checkpoint:test")
    before = number(containerd, first)  # it goes on
    containerd("task", "kill", "--signal", "SIGKILL", first)
    containerd.wait(first, "STOPPED")
    containerd("task", "delete", first, check=False)
    containerd("container", "rm", first)

    containerd("container", "restore", "--live", "--rw", second, "localhost/checkpoint:test")
    wait_until(lambda: number(containerd, second) > before, "it to count on")
    containerd("image", "rm", "localhost/checkpoint:test")


def test_checkpoint_that_ends_the_container(
    containerd: Containerd, container_id: str, tmp_path: Path
) -> None:
    working_criu()
    containerd(*containerd.run_arguments("--detach"), container_id, "sleep", "1000")
    words = ("task", "checkpoint", "--exit", "--image-path", str(tmp_path))
    containerd(*words, "--work-path", str(tmp_path), container_id)
    containerd.wait(container_id, "STOPPED")
    assert (tmp_path / "inventory.img").exists()
