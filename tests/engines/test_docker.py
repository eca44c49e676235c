"""Docker: what its users type, with the runtime under test."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from helpers.command import wait_until
from helpers.engines import IMAGE, Docker
from helpers.terminal import TerminalProcess

pytestmark = [pytest.mark.root, pytest.mark.engines]

# cgroup v1 and v2 name the same limits differently; of each pair one file exists.
LIMIT_FILES = """
cd /sys/fs/cgroup
cat memory/memory.limit_in_bytes memory.max 2>/dev/null
cat pids/pids.max pids.max 2>/dev/null
cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null | cut -d' ' -f1
cat cpuset/cpuset.cpus cpuset.cpus 2>/dev/null
true
"""
# A device that no container may use unless it is given it.
DEVICE = next(d for d in ("/dev/loop-control", "/dev/fuse", "/dev/hwrng") if Path(d).exists())
# The namespaces of the process that reads this, in the order of the arguments.
NAMESPACES = "cd /proc/self/ns; for kind in {}; do readlink $kind; done"


def capabilities(status: str) -> dict[str, int]:
    """The capability sets in /proc/PID/status."""
    return {m[1]: int(m[2], 16) for m in re.finditer(r"Cap(\w+):\t([0-9a-f]+)", status)}


def all_capabilities(status: str) -> bool:
    """Whether a process has every capability that Docker knows (to AUDIT_READ) and this one has."""
    known = (1 << 38) - 1
    own = capabilities(Path("/proc/self/status").read_text())["Bnd"]
    return capabilities(status)["Eff"] & known == own & known


# --- one command, one container -------------------------------------------------------------------


def test_exit_status_and_streams(docker: Docker) -> None:
    done = docker.run("", "sh", "-c", "echo out; echo err >&2; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert "err\n" in done.stderr


def test_standard_input(docker: Docker) -> None:
    assert docker.run("-i", "cat", stdin="words\n").stdout == "words\n"


@pytest.mark.parametrize(
    ("program", "status"), [("no-such", 127), ("/no/such", 127), ("/etc/passwd", 126)]
)
def test_a_program_that_cannot_be_executed(docker: Docker, program: str, status: int) -> None:
    done = docker.run("", program, check=False)
    assert done.returncode == status
    assert program in done.stderr


@pytest.mark.parametrize(
    ("flags", "script", "expected"),
    [
        ("--hostname=box", "hostname", "box"),
        ("--user=1000:1000", "id -u; id -g", "1000\n1000"),
        ("--user=user", "id -G", "1000 2000"),
        ("--group-add=77", "id -G", "0 77"),
        ("--workdir=/tmp -e A=b", "pwd; echo $A", "/tmp\nb"),
        ("--workdir=/made/by/runtime", "pwd", "/made/by/runtime"),
        ("--read-only", "touch /new 2>/dev/null || echo refused", "refused"),
        ("--tmpfs=/new:size=1m,mode=700", "stat -c %a /new; stat -f -c %T /new", "700\ntmpfs"),
        ("--ulimit=nofile=100:200", "ulimit -n; ulimit -Hn", "100\n200"),
        (
            "--sysctl=net.ipv4.ip_unprivileged_port_start=99",
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
            "99",
        ),
        ("--oom-score-adj=300", "cat /proc/self/oom_score_adj", "300"),
        ("--shm-size=2m", "df -k /dev/shm | tail -n 1 | awk '{print $2}'", "2048"),
        ("--init", "cat /proc/1/comm", "docker-init"),
        ("--device=/dev/null:/dev/other", "stat -c '%t:%T' /dev/other", "1:3"),
        (f"--device={DEVICE}:/dev/d:r", "true </dev/d; true >/dev/d || echo refused", "refused"),
        (
            "--memory=32m --memory-swap=32m --pids-limit=20 --cpus=0.5 --cpuset-cpus=0",
            LIMIT_FILES,
            f"{32 << 20}\n20\n50000\n0",
        ),
        ("--security-opt=no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        ("", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2"),
        ("--security-opt=seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
        ("--network=none", "ls /sys/class/net", "lo"),
        ("--ipc=none", "ls -d /dev/shm/* 2>/dev/null; echo none", "none"),
    ],
)
def test_flags_of_run(docker: Docker, flags: str, script: str, expected: str) -> None:
    assert docker.run(flags, "sh", "-c", script).stdout.strip() == expected


@pytest.mark.parametrize(
    ("flag", "namespace"),
    [
        ("--network=host", "net"),
        ("--pid=host", "pid"),
        ("--ipc=host", "ipc"),
        ("--uts=host", "uts"),
    ],
)
def test_namespace_of_the_host(docker: Docker, flag: str, namespace: str) -> None:
    done = docker.run(flag, "readlink", f"/proc/self/ns/{namespace}")
    assert done.stdout.strip() == os.readlink(f"/proc/self/ns/{namespace}")


def test_namespaces_of_its_own(docker: Docker) -> None:
    kinds = ("net", "pid", "ipc", "uts", "mnt")
    done = docker.run("", "sh", "-c", NAMESPACES.format(" ".join(kinds)))
    theirs = done.stdout.split()
    assert len(theirs) == len(kinds)
    assert not set(theirs) & {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def test_capabilities(docker: Docker) -> None:
    default = capabilities(docker.run("", "cat", "/proc/self/status").stdout)
    assert default["Eff"] == default["Prm"] == default["Bnd"]

    one = docker.run("--cap-drop=ALL --cap-add=NET_RAW", "cat", "/proc/self/status").stdout
    assert capabilities(one)["Bnd"] == capabilities(one)["Eff"] == 1 << 13

    without = docker.run("--cap-drop=CHOWN", "cat", "/proc/self/status").stdout
    assert capabilities(without)["Eff"] == default["Eff"] & ~1
    assert docker.run("--cap-drop=CHOWN", "chown", "1", "/tmp", check=False).returncode == 1


def test_the_default_seccomp_profile_denies_a_system_call(docker: Docker) -> None:
    refused = docker.run("--cap-add=SYS_TIME", "unshare", "-U", "true", check=False)
    assert refused.returncode == 1
    assert "Operation not permitted" in refused.stderr
    docker.run("--security-opt=seccomp=unconfined", "unshare", "-U", "true")


def test_a_seccomp_profile_of_the_user(docker: Docker, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = docker.run(f"--security-opt=seccomp={profile}", "mkdir", "/new", check=False)
    assert done.returncode == 1
    assert "Operation not supported" in done.stderr


def test_memory_limit_kills(docker: Docker) -> None:
    done = docker.run(
        "--memory=16m --memory-swap=16m", "sh", "-c", "exec tail /dev/zero", check=False
    )
    assert done.returncode == 128 + 9


def test_privileged(docker: Docker) -> None:
    """As runc does, but on a host whose own set of capabilities is not complete, too."""
    script = "cat /proc/self/status; mount -t tmpfs none /mnt; ls /dev/null /dev/kmsg"
    done = docker.run("--privileged", "sh", "-c", script)
    assert all_capabilities(done.stdout)
    assert "Seccomp:\t0" in done.stdout
    assert done.stdout.endswith("/dev/kmsg\n/dev/null\n")


def test_masked_and_read_only_paths(docker: Docker) -> None:
    script = (
        "cat /proc/keys /proc/timer_list 2>/dev/null | wc -c; "
        "ls /sys/firmware 2>/dev/null | wc -l; "
        "echo 1 >/proc/sys/kernel/panic || echo refused"
    )
    done = docker.run("", "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "refused"]


# --- volumes --------------------------------------------------------------------------------------


def test_volumes(docker: Docker, workspace: Path) -> None:
    shared = workspace / "shared"
    shared.mkdir()
    (shared / "file").write_text("from the host\n")
    script = "cat /a/file; echo 'from inside' >/a/new; touch /b/x 2>/dev/null || echo refused"
    done = docker.run(f"-v {shared}:/a -v {shared}:/b:ro", "sh", "-c", script)
    assert done.stdout == "from the host\nrefused\n"
    assert (shared / "new").read_text() == "from inside\n"


def test_a_single_file_and_a_named_volume(docker: Docker, workspace: Path) -> None:
    single = workspace / "single"
    single.write_text("one\n")
    docker("volume", "create", "named")
    docker.run("-v named:/data", "sh", "-c", "echo kept >/data/x")
    done = docker.run(f"-v named:/data -v {single}:/etc/single", "cat", "/data/x", "/etc/single")
    assert done.stdout == "kept\none\n"
    docker("volume", "rm", "named")


def test_a_shared_mount_takes_later_mounts_in(docker: Docker, workspace: Path) -> None:
    outside = workspace / "propagated"
    outside.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", outside], check=True)
    subprocess.run(["mount", "--make-shared", outside], check=True)
    try:
        container = docker.start(
            "--mount", f"type=bind,src={outside},dst=/a,bind-propagation=rslave"
        )
        (outside / "later").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", outside / "later"], check=True)
        (outside / "later" / "file").write_text("seen\n")
        assert docker("exec", container, "cat", "/a/later/file").stdout == "seen\n"
        docker("rm", "--force", container)
    finally:
        subprocess.run(["umount", "-R", outside], check=True)


# --- a container that lives -----------------------------------------------------------------------


def test_exec(docker: Docker) -> None:
    container = docker.start("--user=1000", "-e", "A=b")
    done = docker("exec", container, "sh", "-c", "id -u; echo $A; exit 9", check=False)
    assert (done.returncode, done.stdout) == (9, "1000\nb\n")

    flags = ("--user=0", "--workdir=/tmp", "--env=A=c", "-i")
    done = docker("exec", *flags, container, "sh", "-c", "id -u; pwd; echo $A; cat", stdin="in\n")
    assert done.stdout == "0\n/tmp\nc\nin\n"

    status = docker("exec", container, "cat", "/proc/self/status").stdout
    assert "Seccomp:\t2" in status

    done = docker("exec", container, "no-such", check=False)
    assert done.returncode in (126, 127)
    assert "no-such" in done.stdout + done.stderr


def test_exec_detached(docker: Docker) -> None:
    container = docker.start()
    docker("exec", "--detach", container, "sh", "-c", "echo made >/tmp/file; sleep 1000")
    wait_until(
        lambda: docker("exec", container, "cat", "/tmp/file", check=False).stdout == "made\n",
        "the detached process",
    )
    assert len(docker("top", container).stdout.splitlines()) >= 3


def test_exec_privileged(docker: Docker) -> None:
    container = docker.start()
    done = docker("exec", "--privileged", container, "cat", "/proc/self/status")
    assert all_capabilities(done.stdout)


def test_terminal(docker: Docker) -> None:
    command = docker.command(*docker.run_arguments("--rm", "-it"), "sh")
    with TerminalProcess(command, rows=30, columns=90) as terminal:
        terminal.send("tty\n")
        terminal.expect("/dev/pts/0")
        terminal.send("until [ \"$(stty size)\" = '30 90' ]; do sleep 0.05; done; echo r''ight\n")
        terminal.expect("right")
        terminal.resize(44, 120)
        terminal.send("until [ \"$(stty size)\" = '44 120' ]; do sleep 0.05; done; echo an''ew\n")
        terminal.expect("anew")
        # The line discipline of the container's terminal makes a signal of this.
        terminal.send("sh -c 'echo sl''eeping; exec sleep 1000'\n")
        terminal.expect("sleeping")
        terminal.send("\x03")
        terminal.send("exit 6\n")
        assert terminal.wait() == 6
        assert terminal.modes_restored()


def test_terminal_of_an_exec(docker: Docker) -> None:
    container = docker.start()
    command = docker.command("exec", "-it", container, "sh", "-c", "tty; read x; echo got $x")
    with TerminalProcess(command) as terminal:
        terminal.expect("/dev/pts/0")
        terminal.send("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 0


def test_attach_detach_keys(docker: Docker) -> None:
    command = docker.command(*docker.run_arguments("-it", "--name", "kept"), "sh")
    with TerminalProcess(command) as terminal:
        terminal.send("echo on''ce\n")
        terminal.expect("once")
        terminal.send("\x10\x11")
        assert terminal.wait() == 0
    assert docker.inspect("kept", "{{.State.Running}}") == "true"
    with TerminalProcess(docker.command("attach", "kept")) as terminal:
        terminal.send("echo ag''ain\n")
        terminal.expect("again")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3


def test_stop_asks_before_it_kills(docker: Docker) -> None:
    polite = docker.start(command=("sh", "-c", "trap 'exit 43' TERM; while :; do sleep 0.05; done"))
    docker("stop", "--time=30", polite)
    assert docker.inspect(polite, "{{.State.ExitCode}}") == "43"

    deaf = docker.start(command=("sleep", "1000"))
    docker("stop", "--time=1", deaf)
    assert docker.inspect(deaf, "{{.State.ExitCode}} {{.State.OOMKilled}}") == "137 false"


def test_kill_and_wait(docker: Docker) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    container = docker.start(command=("sh", "-c", script))
    wait_until(lambda: docker("logs", container).stdout == "ready\n", "the trap to be set")
    docker("kill", "--signal=USR1", container)
    assert docker("wait", container).stdout.strip() == "7"


def test_kill_ends_every_process(docker: Docker) -> None:
    container = docker.start(command=("sh", "-c", "sleep 1000 & sleep 1000 & wait"))
    docker("kill", container)
    assert docker("wait", container).stdout.strip() == "137"


def test_restart(docker: Docker) -> None:
    container = docker.start(command=("sh", "-c", "date +%s%N >>/starts; exec sleep 1000"))
    before = docker.inspect(container, "{{.State.Pid}}")
    docker("restart", "--time=0", container)
    assert docker.inspect(container, "{{.State.Pid}}") != before
    wait_until(
        lambda: len(docker("exec", container, "cat", "/starts").stdout.splitlines()) == 2,
        "the second start",
    )


def test_restart_policy(docker: Docker) -> None:
    container = docker.start("--restart=on-failure:2", command=("false",))
    wait_until(
        lambda: docker.inspect(container, "{{.State.Status}} {{.RestartCount}}") == "exited 2",
        "two restarts",
    )


def test_pause(docker: Docker) -> None:
    container = docker.start(command=("sh", "-c", "while :; do echo x; sleep 0.01; done"))
    docker("pause", container)
    assert docker.inspect(container, "{{.State.Status}}") == "paused"
    assert docker("exec", container, "true", check=False).returncode != 0
    pid = docker.inspect(container, "{{.State.Pid}}")
    ticks = Path(f"/proc/{pid}/stat").read_text()
    assert Path(f"/proc/{pid}/stat").read_text() == ticks
    docker("unpause", container)
    assert docker.inspect(container, "{{.State.Status}}") == "running"
    docker("exec", container, "true")


def test_logs_top_and_stats(docker: Docker) -> None:
    container = docker.start(command=("sh", "-c", "echo out; echo err >&2; exec sleep 1000"))
    wait_until(lambda: "err" in docker("logs", container).stderr, "the log")
    logs = docker("logs", container)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    assert "sleep 1000" in docker("top", container).stdout
    stats = docker("stats", "--no-stream", "--format={{.MemUsage}} {{.PIDs}}", container).stdout
    assert not stats.startswith("0B")
    assert stats.split()[-1] == "1"


def test_update(docker: Docker) -> None:
    container = docker.start("--memory=32m", "--memory-swap=32m", "--pids-limit=20")
    flags = ("--memory=64m", "--memory-swap=64m", "--pids-limit=30", "--cpus=0.3")
    docker("update", *flags, "--cpuset-cpus=0", container)
    done = docker("exec", container, "sh", "-c", LIMIT_FILES)
    assert done.stdout.split() == [str(64 << 20), "30", "30000", "0"]


def test_sharing_namespaces_of_another_container(docker: Docker) -> None:
    first = docker.start("--ipc=shareable")
    flags = f"--network=container:{first} --pid=container:{first} --ipc=container:{first}"
    script = NAMESPACES.format("net pid ipc")
    done = docker.run(flags, "sh", "-c", f"{script}; cat /proc/1/comm")
    assert done.stdout == docker("exec", first, "sh", "-c", script).stdout + "sleep\n"


def test_copy_and_commit(docker: Docker, tmp_path: Path) -> None:
    container = docker.start(command=("sh", "-c", "echo inside >/made; exec sleep 1000"))
    wait_until(
        lambda: docker("exec", container, "ls", "/made", check=False).returncode == 0, "/made"
    )
    docker("cp", f"{container}:/made", str(tmp_path / "made"))
    assert (tmp_path / "made").read_text() == "inside\n"


def test_health_check(docker: Docker) -> None:
    container = docker.start("--health-cmd=true", "--health-interval=100ms")
    wait_until(
        lambda: docker.inspect(container, "{{.State.Health.Status}}") == "healthy", "healthy"
    )


def test_health_check_that_fails(docker: Docker) -> None:
    flags = ("--health-cmd=echo ill; test ! -e /ill", "--health-interval=100ms")
    container = docker.start(*flags, "--health-retries=2")
    status = "{{.State.Health.Status}}"
    wait_until(lambda: docker.inspect(container, status) == "healthy", "healthy")
    assert '"Output":"ill\\n"' in docker.inspect(container, "{{json .State.Health.Log}}")
    docker("exec", container, "touch", "/ill")
    wait_until(lambda: docker.inspect(container, status) == "unhealthy", "unhealthy")


def test_the_daemon_knows_the_runtime(docker: Docker) -> None:
    runtimes = json.loads(docker("info", "--format={{json .Runtimes}}").stdout)
    assert "tested" in runtimes


def test_a_runtime_that_was_installed(docker: Docker) -> None:
    """By `pyrunc install docker --write`, which wrote the configuration of this dockerd."""
    done = docker("run", "--rm", "--runtime", "installed", IMAGE, "cat", "/proc/1/comm")
    assert done.stdout == "cat\n"
