"""Trouble around a container: full and read-only disks, dead inits, cgroups that others removed, a reboot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.leaks import Leaks, children
from helpers.runtime import Runtime, wait_until
from helpers.victim import Victim

pytestmark = pytest.mark.root


@pytest.fixture
def disk(runtime: Runtime, no_leaks: Leaks) -> Iterator[Path]:
    """A small filesystem for the state directory."""
    runtime.root.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=16", "tmpfs", runtime.root], check=True
    )
    yield runtime.root
    subprocess.run(["umount", runtime.root], check=True)


def fill(directory: Path) -> Path:
    """Leave no room at all."""
    filler = directory / ".filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(directory).f_bavail == 0
    return filler


def remount(directory: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), directory], check=True)


def test_no_room_for_a_new_container(
    disk: Path, runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    filler = fill(disk)
    done = runtime.create(container_id, bundle.path, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert runtime.status(container_id) == "none"
    filler.unlink()
    runtime.create(container_id, bundle.path)
    runtime("delete", "--force", container_id)


def test_no_more_inodes(disk: Path, runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    """The more there are, the further the creation gets; at the end all is well."""
    said = []
    for free in range(12):
        fillers = [disk / f".{number}" for number in range(14 - free)]
        for filler in fillers:
            filler.touch()
        done = runtime.create(container_id, bundle.path, check=False)
        assert done.returncode in (0, 1)
        said.append(done.stderr)
        assert runtime("delete", "--force", container_id).stderr == ""
        for filler in fillers:
            filler.unlink()
        assert not any(disk.iterdir())
    assert "No space left on device" in said[0]
    assert said[-1] == ""
    assert not any("internal error" in text for text in said)


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_a_full_disk_does_not_keep_a_container(
    disk: Path, runtime: Runtime, bundle: Bundle, container_id: str, status: str
) -> None:
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    if status != "created":
        runtime("start", container_id)
    if status == "paused":
        runtime("pause", container_id)
    filler = fill(disk)
    assert runtime.status(container_id) == status
    runtime("delete", "--force", container_id)
    filler.unlink()


def test_a_read_only_disk(disk: Path, runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    remount(disk, "ro")
    try:
        done = runtime.create(f"{container_id}-2", bundle.path, check=False)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        assert runtime.status(container_id) == "created"
        done = runtime("delete", "--force", container_id, check=False)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        # its process is gone all the same, and nothing pretends that it is not
        assert runtime.status(container_id) == "stopped"
    finally:
        remount(disk, "rw")
    runtime("delete", "--force", container_id)


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_a_container_from_before_a_reboot(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, status: str
) -> None:
    """Its state is left, its pid is somebody else's, and neither its cgroup nor its mounts are there."""
    with subprocess.Popen(["sleep", "1000"]) as other:
        time.sleep(0.05)  # several of the ticks that tell when a process started
        bundle.args("sleep", "1000")
        runtime.create(container_id, bundle.path)
        if status != "created":
            runtime("start", container_id)
        if status == "paused":
            runtime("pause", container_id)
        kept = {path: path.read_bytes() for path in state_files(runtime, container_id)}
        runtime("delete", "--force", container_id)
        (runtime.root / container_id).mkdir(mode=0o700)
        for path, content in kept.items():
            path.write_bytes(content)
        for path in kept:
            if path.name.startswith("state"):
                state = json.loads(path.read_text())
                path.write_text(json.dumps({**state, "pid": other.pid}))
        assert runtime.status(container_id) == "stopped"
        for operation in (["kill"], ["start"], ["pause"], ["exec", "true"]):
            done = runtime(operation[0], container_id, *operation[1:], check=False)
            assert done.returncode != 0
            assert "stopped" in done.stderr
        assert runtime.create(container_id, bundle.path, check=False).returncode == 1
        runtime("delete", container_id)
        assert other.poll() is None
        other.kill()


def state_files(runtime: Runtime, container: str) -> list[Path]:
    return [path for path in (runtime.root / container).iterdir() if path.is_file()]


def test_the_init_is_killed_before_start(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    runtime.create(container_id, bundle.path)
    os.kill(runtime.state(container_id)["pid"], signal.SIGKILL)
    runtime.wait(container_id, "stopped")
    done = runtime("start", container_id, check=False)
    assert done.returncode == 1
    assert "it is stopped" in done.stderr
    runtime("delete", container_id)


#: What a command may be told of a cgroup that is no more.
WORDS = ("cgroup", "stopped", "No such file or directory", "No such device")


@pytest.mark.parametrize("status", ["created", "running"])
def test_others_removed_the_cgroup(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks, status: str
) -> None:
    """Its processes were moved to the root of each hierarchy, as an impatient administrator does."""
    bundle.config["linux"]["resources"]["pids"] = {"limit": 100}
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    if status == "running":
        runtime("start", container_id)
    state = json.loads((runtime.root / container_id / "state.json").read_text())
    for text in dict.fromkeys(state["cgroup"]["paths"].values()):
        path = Path(text)
        (hierarchy_of(path) / "cgroup.procs").write_text(str(state["pid"]))
        with contextlib.suppress(FileNotFoundError):  # systemd is as impatient
            path.rmdir()
    for operation in (["update", "--pids-limit", "5"], ["pause"], ["events", "--stats"], ["ps"]):
        done = runtime(*operation, container_id, check=False)
        assert "internal error" not in done.stderr
        if done.returncode:
            assert any(word in done.stderr for word in WORDS), done.stderr
    assert runtime.status(container_id) == status
    runtime("delete", "--force", container_id)


def hierarchy_of(path: Path) -> Path:
    while not os.path.ismount(path):
        path = path.parent
    return path


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_leaves_a_process_behind(victim: Victim, kind: str) -> None:
    """It holds the hook's output open, and what it writes there is never read."""
    note = victim.bundle.path / "left"
    script = f"(echo $$ >{note}; exec sleep 1000) & exit 0"
    path = "/bin/sh"
    if kind in ("createContainer", "startContainer"):
        script = script.replace(str(note), "/tmp/left")
    victim.bundle.config["hooks"] = {kind: [{"path": path, "args": ["sh", "-c", script]}]}
    victim.bundle.save()
    victim.bring("exec")
    assert victim.runtime.status(victim.id) == "running"
    for pid in hook_processes(victim):
        os.kill(pid, signal.SIGKILL)
    assert victim.remove(kind) == []


def hook_processes(victim: Victim) -> list[int]:
    return [pid for pid in children() if pid not in victim.leaks.processes and is_left(pid)]


def is_left(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[:2] == [b"sleep", b"1000"]


def test_a_container_is_deleted_while_its_directory_is_in_use(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Leaks
) -> None:
    """Somebody looks at it all the time."""
    runtime.create(container_id, bundle.path)
    directory = os.open(runtime.root / container_id, os.O_RDONLY)
    try:
        runtime("delete", "--force", container_id)
    finally:
        os.close(directory)


def test_something_foreign_in_the_state_directory(
    runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    runtime.root.mkdir()
    (runtime.root / "file").write_text("")
    (runtime.root / "not-a-container").mkdir()
    (runtime.root / "loop").symlink_to("loop")
    runtime.create(container_id, bundle.path)
    assert [line.split()[0] for line in runtime("list").stdout.splitlines()[1:]] == [container_id]
    for name in ("file", "not-a-container", "loop"):
        done = runtime("state", name, check=False)
        assert done.returncode == 1
        assert "internal error" not in done.stderr
    runtime("delete", "--force", container_id)
    wait_until(lambda: runtime.status(container_id) == "none", "its end")
