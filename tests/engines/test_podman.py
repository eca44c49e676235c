"""Podman, which calls the runtime by way of conmon."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.command import run_command
from helpers.engines import Podman, install
from helpers.terminal import TerminalProcess

pytestmark = [pytest.mark.root, pytest.mark.engines]


def test_run(podman: Podman) -> None:
    arguments = podman.run_arguments("--rm")
    done = podman(*arguments, "sh", "-c", "echo out; echo err >&2; exit 4", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


@pytest.mark.parametrize("program", ["no-such", "/etc/passwd"])
def test_a_program_that_cannot_be_executed(podman: Podman, program: str) -> None:
    """Podman tells the two apart only by an error of `create`; from `start` all are 126."""
    done = podman(*podman.run_arguments("--rm"), program, check=False)
    assert done.returncode in (126, 127)
    assert program in done.stderr


def test_limits_user_and_capabilities(podman: Podman) -> None:
    flags = ("--rm", "--memory=32m", "--user=1000", "--cap-drop=ALL", "--read-only")
    script = (
        "id -u; grep CapEff /proc/self/status; "
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null"
    )
    done = podman(*podman.run_arguments(*flags), "sh", "-c", script, check=False)
    assert done.stdout.split() == ["1000", "CapEff:", "0" * 16, str(32 << 20)]


def test_life_of_a_container(podman: Podman) -> None:
    container = podman(*podman.run_arguments("--detach"), "sleep", "1000").stdout.strip()
    done = podman("exec", container, "sh", "-c", "echo in; exit 3", check=False)
    assert (done.returncode, done.stdout) == (3, "in\n")

    podman("pause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "paused"
    podman("unpause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "running"

    podman("restart", "--time=0", container)
    podman("kill", container)
    assert podman("wait", container).stdout.strip() == "137"
    podman("rm", container)


def test_terminal(podman: Podman) -> None:
    command = podman.command(*podman.run_arguments("--rm", "-it"), "sh")
    with TerminalProcess(["env", *_assignments(podman), *command]) as terminal:
        terminal.send("tty; echo on''ce\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("once")
        terminal.send("exit 5\n")
        assert terminal.wait() == 5


def _assignments(podman: Podman) -> list[str]:
    return [f"CONTAINERS_CONF={podman.config}"]


def test_a_pod_shares_namespaces(podman: Podman) -> None:
    first = podman(*podman.run_arguments("--detach"), "sleep", "1000").stdout.strip()
    flags = ("--rm", f"--ipc=container:{first}", f"--pid=container:{first}")
    done = podman(*podman.run_arguments(*flags), "cat", "/proc/1/comm")
    assert done.stdout == "sleep\n"


def test_a_runtime_that_was_installed(
    podman: Podman, runtime_binary: Path, engine_runtime: Path
) -> None:
    """By `pyrunc install podman --write`, into what podman's configuration has already."""
    install(runtime_binary, "podman", podman.config, engine_runtime)
    command = [
        word if not word.startswith("--runtime=") else "--runtime=installed"
        for word in podman.command(*podman.run_arguments("--rm"), "cat", "/proc/1/comm")
    ]
    assert run_command(command, env=podman.environment).stdout == "cat\n"
