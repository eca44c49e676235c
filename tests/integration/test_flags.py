"""Flags of the command line that the other tests have no occasion for, each on a real container."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.leaks import cgroups
from helpers.pidfds import PidfdSocket
from helpers.runtime import Runtime
from helpers.terminal import ConsoleSocket

pytestmark = pytest.mark.root


@pytest.fixture
def container(runtime: Runtime, bundle: Bundle, container_id: str) -> Iterator[str]:
    """The id of a running container that sleeps."""
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    yield container_id
    runtime("delete", "--force", container_id)


def test_pidfd_socket(runtime: Runtime, bundle: Bundle, container_id: str, workspace: Path) -> None:
    listener = PidfdSocket(workspace / f"{container_id}-pidfd")
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path, "--pidfd-socket", listener.path)
    assert listener.pid() == runtime.state(container_id)["pid"]


def test_pidfd_socket_of_exec(runtime: Runtime, container: str, workspace: Path) -> None:
    listener = PidfdSocket(workspace / f"{container}-pidfd")
    pid_file = workspace / f"{container}-pid"
    flags = ("--detach", "--pidfd-socket", listener.path, "--pid-file", pid_file)
    subprocess.run(
        runtime.command("exec", *flags, container, "sleep", "1000"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    assert listener.pid() == int(pid_file.read_text())


@pytest.mark.parametrize("operation", ["create", "exec"])
def test_a_pidfd_socket_that_nobody_listens_on(
    runtime: Runtime, bundle: Bundle, container: str, operation: str
) -> None:
    if operation == "create":
        done = runtime.create(
            f"{container}-2", bundle.path, "--pidfd-socket", "/nonexistent/s", check=False
        )
        assert runtime.status(f"{container}-2") == "none"
    else:
        words = ("exec", "--pidfd-socket", "/nonexistent/s", container, "sleep", "100")
        done = runtime(*words, check=False)
    assert done.returncode == (1 if operation == "create" else 255)
    assert "--pidfd-socket /nonexistent/s: No such file or directory" in done.stderr


def test_console_socket(
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


def test_another_config(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    other = bundle.path / "other.json"
    bundle.sh("echo of another file")
    (bundle.path / "config.json").rename(other)
    assert "another file" in runtime.run(container_id, bundle.path, "--config", other).stdout


def test_no_pivot(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("ls -d /host /root; grep -c . /proc/self/mountinfo")
    usual = runtime.run(container_id, bundle.path, check=False).stdout
    assert runtime.run(container_id, bundle.path, "--no-pivot", check=False).stdout == usual


def test_no_new_keyring(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    def changed(*flags: str) -> bool:
        plan = json.loads(runtime("plan", "--format", "json", *flags, bundle.path).stdout)
        return any(op["operation"] == "NewSessionKeyring" for op in plan["operations"])

    assert changed()
    assert not changed("--no-new-keyring")
    bundle.sh("cat /proc/keys")
    ours = re.findall(r"^(\w+) .* keyring +(_ses\S*)", Path("/proc/keys").read_text(), re.M)
    runtime.run(container_id, bundle.path, "--no-new-keyring")
    inside = runtime.run(container_id, bundle.path).stdout
    assert not [serial for serial, _ in ours if serial in inside]


def test_descriptors_of_listen_fds_and_more(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    for name in ("three", "four"):
        (tmp_path / name).write_text(name)
    bundle.sh("cat <&3; cat <&4; echo; env | grep LISTEN; ls /proc/self/fd")
    environment = dict(os.environ, LISTEN_FDS="1", LISTEN_FDNAMES="web")
    command = runtime.command("run", "-b", bundle.path, "--preserve-fds", "1", container_id)

    def output(prepare: str) -> list[str]:
        script = f'cd "$1"; shift; {prepare}; exec "$@" 3<three 4<four 5<three'
        return subprocess.run(
            ["sh", "-c", script, "sh", tmp_path, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()

    for prepare in ("export LISTEN_PID=$$", "unset LISTEN_PID"):
        first, *rest = output(prepare)
        assert first == "threefour"
        assert set(rest[:3]) == {"LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=web"}
        assert rest[3:] == ["0", "1", "2", "3", "4", "5"]  # 5 is what ls reads
    # for somebody else (sd_listen_fds(3)): 3 is one more descriptor, 4 what ls reads
    bundle.sh("cat <&3; echo; env | grep LISTEN; ls /proc/self/fd")
    assert output("export LISTEN_PID=1") == ["three", "0", "1", "2", "3", "4"]


def test_descriptors_that_are_not_open(
    runtime: Runtime, bundle: Bundle, container_id: str, no_leaks: Any
) -> None:
    done = runtime.run(container_id, bundle.path, "--preserve-fds", "50", check=False)
    assert done.returncode == 1
    assert "--preserve-fds 50: descriptor 3 is not open" in done.stderr.replace("\\", "")


@pytest.mark.parametrize(("flag", "adopted"), [((), True), (("--no-subreaper",), False)])
def test_subreaper(
    runtime: Runtime,
    bundle: Bundle,
    container_id: str,
    flag: tuple[str, ...],
    adopted: bool,
) -> None:
    """Whether orphans of a container that has the host's pid namespace become ours."""
    bundle.namespaces(drop=("pid",))
    bundle.sh("(sleep 1000 & echo $! > /tmp/orphan); touch /tmp/done; sleep 1000")
    line = runtime.command("run", "-b", bundle.path, *flag, container_id)
    runtime.used.add(container_id)
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_until((bundle.rootfs / "tmp" / "done").exists, "the orphan")
        orphan = (bundle.rootfs / "tmp" / "orphan").read_text().strip()

        def parent() -> int:
            return int(Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[1])

        wait_until(lambda: parent() != runtime.state(container_id)["pid"], "it to be orphaned")
        assert (parent() == process.pid) == adopted
        runtime("kill", "--all", container_id, "KILL")
        assert process.wait(60) == 128 + signal.SIGKILL


def test_commands_that_never_adopt(runtime: Runtime, bundle: Bundle, container: str) -> None:
    """runc's exec and crun's create have the flag; it says what is so anyway."""
    assert runtime("exec", "--no-subreaper", container, "true").returncode == 0
    runtime.create(f"{container}-2", bundle.path, "--no-subreaper")
    assert runtime.status(f"{container}-2") == "created"


def test_no_cgroup_manager(
    runtime: Runtime, bundle: Bundle, container_id: str, prefix: str
) -> None:
    bundle.args("sleep", "1000")
    runtime.used.add(container_id)
    before = cgroups(prefix)
    with (bundle.path / "output").open("wb") as output:
        subprocess.run(
            runtime.command(
                *("--cgroup-manager", "disabled", "run", "-d", "-b", bundle.path, container_id)
            ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
            timeout=60,
        )
    assert cgroups(prefix) == before
    assert runtime.status(container_id) == "running"


def test_labels_and_profiles_the_host_lacks(runtime: Runtime, container: str) -> None:
    if Path("/sys/kernel/security/apparmor").exists() or Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this host has a security module")
    for flag, module in (("--apparmor", "AppArmor"), ("--process-label", "SELinux")):
        done = runtime("exec", flag, "some", container, "true", check=False)
        assert done.returncode == 255
        assert module in done.stderr


def test_no_new_privileges(runtime: Runtime, container: str) -> None:
    def value(*flags: str) -> str:
        done = runtime("exec", *flags, container, "grep", "NoNewPrivs", "/proc/self/status")
        return done.stdout.split()[1]

    assert value("--no-new-privs=false") == "0"
    assert value("--no-new-privs") == "1"
    assert value() == "1"  # as config.json has it


def test_a_cgroup_below(runtime: Runtime, container: str, prefix: str) -> None:
    pid = runtime.state(container)["pid"]
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    controllers = [names for _, names, path in lines if names and container in path]
    if "pids" not in controllers:
        pytest.skip("the pids controller is not on cgroup v1")
    below = next(Path(p) for p in cgroups(container) if "/pids/" in p) / "below"
    below.mkdir()
    words = ("exec", "--cgroup", "pids:below", container, "cat", "/proc/self/cgroup")
    found = dict(line.split(":")[1:] for line in runtime(*words).stdout.splitlines())
    assert found["pids"].endswith(f"{container}/below")
    assert not found["memory"].endswith("below")
    for wrong, reason in (
        ("pids:nonexistent", "there is no cgroup"),
        ("pids:../..", "leads out of the container's cgroup"),
        ("nosuch:below", "is in no cgroup of 'nosuch'"),
        (":below", "a controller is missing before the colon"),
        ("below", "there is no cgroup"),
    ):
        done = runtime("exec", "--cgroup", wrong, container, "true", check=False)
        assert (done.returncode, reason in done.stderr) == (255, True)
    twice = ("--cgroup", "pids:below", "--cgroup", "memory,pids:.")
    done = runtime("exec", *twice, container, "true", check=False)
    assert (done.returncode, "another one says where" in done.stderr) == (255, True)
    below.rmdir()


def test_a_cgroup_below_on_v2(runtime: Runtime, container: str) -> None:
    pid = runtime.state(container)["pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    if len(lines) != 1:
        pytest.skip("this host has cgroup v1; make vm-test has one with v2 alone")
    own = lines[0].removeprefix("0::")
    (Path("/sys/fs/cgroup") / own.lstrip("/") / "below").mkdir()
    for path in ("below", "/below", ":below"):
        words = ("exec", "--cgroup", path, container, "cat", "/proc/self/cgroup")
        done = runtime(*words, check=path != ":below")
        if path == ":below":
            assert (done.returncode, "below" in done.stderr) == (255, True)
        else:
            assert done.stdout.strip().endswith("/below")
    for wrong, reason in (
        ("nonexistent", "there is no cgroup"),
        ("../..", "leads out of the container's cgroup"),
    ):
        done = runtime("exec", "--cgroup", wrong, container, "true", check=False)
        assert (done.returncode, reason in done.stderr) == (255, True)


def test_ignore_paused(runtime: Runtime, container: str) -> None:
    runtime("pause", container)
    words = runtime.command("exec", "--ignore-paused", container, "echo", "ran")
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        wait_until(
            lambda: len(json.loads(runtime("ps", "-f", "json", container).stdout)) > 1,
            "the process to come into the paused container",
        )
        assert process.poll() is None
        runtime("resume", container)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "ran\n")


def test_kill_all(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh(
        "trap 'echo first; exit' USR1; (trap 'echo second; exit' USR1; echo ready;"
        " while :; do sleep 0.01; done) & while :; do sleep 0.01; done"
    )
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    output = bundle.path / "output"
    wait_until(lambda: "ready" in output.read_text(), "the traps")
    runtime("kill", "--all", container_id, "USR1")
    wait_until(lambda: "first" in output.read_text(), "the first process")
    runtime.wait(container_id, "stopped")


def test_spec_rootless(runtime: Runtime, runc: Runtime, tmp_path: Path) -> None:
    runtime("spec", "--rootless", "--bundle", tmp_path)
    ours = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in ours["linux"]["namespaces"]
    (tmp_path / "config.json").unlink()
    runc("spec", "--rootless", "--bundle", tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    assert ours["linux"]["uidMappings"] == theirs["linux"]["uidMappings"]
    assert ours["mounts"] == theirs["mounts"]


Containers = Callable[..., str]


def test_regular_expressions(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.args("sleep", "1000")
    names = [f"{container_id}-{part}" for part in ("a", "b", "other")]
    for name in names:
        runtime.create(name, bundle.path)
        runtime("start", name)
    runtime("kill", "--regex", f"{container_id}-[ab]", "KILL")
    runtime.wait(names[0], "stopped")
    runtime.wait(names[1], "stopped")
    assert runtime.status(names[2]) == "running"
    runtime("delete", "--regex", f"{container_id}-.")
    assert [runtime.status(name) for name in names] == ["none", "none", "running"]
    done = runtime("delete", "--regex", f"{container_id}-.*", check=False)
    assert done.returncode == 1
    assert "is running" in done.stderr
    runtime("delete", "--force", "--regex", f"{container_id}-.*")
    assert runtime.status(names[2]) == "none"
    done = runtime("kill", "--regex", "(", "KILL", check=False)
    assert 'kill: --regex "(": ' in done.stderr.replace("\\", "")


def test_spec_into_another_file(runtime: Runtime, tmp_path: Path) -> None:
    runtime("spec", "--file", tmp_path / "other.json")
    assert json.loads((tmp_path / "other.json").read_text())["process"]["args"] == ["sh"]
