"""Podman where most people have it: on cgroup v2 with systemd, as root and as an unprivileged user."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.command import run_command, wait_until
from helpers.engines import IMAGE, PODMAN
from helpers.leaks import CGROUPS

from pyrunc.host.facts import HostFacts

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        HostFacts().cgroup_mode != "v2" or not Path("/run/systemd/system").is_dir(),
        reason="needs cgroup v2 and systemd",
    ),
]


class SystemPodman:
    """Podman with the system's defaults, but for where it keeps things, and the runtime.

    Attributes:
        manager: "systemd" or "cgroupfs".
    """

    def __init__(self, directory: Path, runtime: Path, manager: str) -> None:
        self.directory = directory
        self.runtime = runtime
        self.manager = manager

    def __call__(self, *arguments: str, **options: Any) -> Any:
        """Run one `podman` command."""
        command = [
            PODMAN,
            f"--root={self.directory}/root",
            f"--runroot={self.directory}/run",
            f"--tmpdir={self.directory}/tmp",
            f"--runtime={self.runtime}",
            f"--cgroup-manager={self.manager}",
            "--events-backend=file",
            *arguments,
        ]
        return run_command(command, limit=120, **options)

    def run(self, flags: str, *command: str, **options: Any) -> Any:
        """`podman run` without a network, with flags separated by blanks."""
        return self("run", "--network=none", *flags.split(), IMAGE, *command, **options)

    def inspect(self, container: str, template: str) -> str:
        """One value of what `podman inspect` knows."""
        said: str = self("inspect", "--format", template, container).stdout
        return said.strip()


@pytest.fixture(scope="module", params=["systemd", "cgroupfs"])
def podman(
    request: pytest.FixtureRequest, workspace: Path, runtime_binary: Path, image: Path
) -> Iterator[SystemPodman]:
    if not os.access(PODMAN, os.X_OK):
        pytest.fail(f"no {PODMAN}: scripts/install-deps test")
    directory = workspace / f"podman-{request.param}"
    directory.mkdir()
    engine = SystemPodman(directory, runtime_binary, request.param)
    engine("load", "--input", str(image))
    yield engine
    engine("rm", "--all", "--force", "--time=0")
    # only in its own user namespace may a user remove what belongs to subordinate ids
    engine("system", "reset", "--force")


@pytest.fixture
def container(podman: SystemPodman) -> Iterator[str]:
    made = podman.run("--detach --memory=64m --pids-limit=50", "sleep", "1000").stdout.strip()
    yield made
    podman("rm", "--force", "--time=0", made)
    assert cgroups(made) == []


def cgroups(container: str) -> list[str]:
    """Cgroups of a container of podman and its monitor."""
    return [directory for directory, _, _ in os.walk(CGROUPS) if container in directory]


def test_output_and_exit_code(podman: SystemPodman) -> None:
    done = podman.run("--rm", "sh", "-c", "echo out; echo err >&2; exit 4", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


def test_ids(podman: SystemPodman) -> None:
    script = "id -u; cat /proc/self/uid_map"
    said = podman.run("--rm --user=1000", "sh", "-c", script).stdout.split()
    assert said[0] == "1000"
    if os.geteuid() != 0:
        assert said[1:4] == ["0", str(os.geteuid()), "1"]


def test_limits(podman: SystemPodman, container: str) -> None:
    (directory,) = [
        d
        for d in cgroups(container)
        if Path(d, "cgroup.procs").read_text().strip() and "conmon" not in d
    ]
    assert Path(directory, "memory.max").read_text() == f"{64 << 20}\n"
    assert Path(directory, "pids.max").read_text() == "50\n"
    podman("update", "--memory=128m", container)
    assert Path(directory, "memory.max").read_text() == f"{128 << 20}\n"


def test_life(podman: SystemPodman, container: str) -> None:
    done = podman("exec", container, "sh", "-c", "echo in; exit 3", check=False)
    assert (done.returncode, done.stdout) == (3, "in\n")
    assert "sleep 1000" in podman("top", container, "args").stdout
    (stats,) = json.loads(podman("stats", "--no-stream", "--format=json", container).stdout)
    assert stats["pids"] == "1"
    podman("pause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "paused"
    podman("unpause", container)
    assert podman.inspect(container, "{{.State.Status}}") == "running"
    podman("kill", "--signal=KILL", container)
    assert podman("wait", container).stdout.strip() == "137"
    podman("start", container)
    wait_until(
        lambda: podman.inspect(container, "{{.State.Status}}") == "running", "it to run again"
    )
    podman("stop", "--time=0", container)


def test_a_user_namespace_of_its_own(podman: SystemPodman) -> None:
    said = podman.run(
        "--rm --uidmap=0:1:5000 --gidmap=0:1:5000", "sh", "-c", "id -u; cat /proc/self/uid_map"
    ).stdout.split()
    assert said[0] == "0"
    assert said[-1] == "5000"


def test_a_volume(podman: SystemPodman) -> None:
    script = "echo kept >/data/file"
    podman.run("--rm --volume=things:/data", "sh", "-c", script)
    assert podman.run("--rm --volume=things:/data:ro", "cat", "/data/file").stdout == "kept\n"
    podman("volume", "rm", "things")
