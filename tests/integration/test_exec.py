"""`exec`: other processes in a running container."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.runtime import Runtime, wait_until
from helpers.terminal import ConsoleSocket, TerminalProcess

pytestmark = pytest.mark.root


@pytest.fixture
def container(runtime: Runtime, bundle: Bundle, container_id: str) -> Iterator[str]:
    """The id of a running container that sleeps."""
    bundle.args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    runtime.wait(container_id, "running")
    yield container_id
    runtime("delete", "--force", container_id)


def test_output_and_exit_code(runtime: Runtime, container: str) -> None:
    done = runtime("exec", container, "sh", "-c", "hostname; echo err >&2; exit 5", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("container\n", "err\n", 5)


def test_input(runtime: Runtime, container: str) -> None:
    assert runtime("exec", container, "cat", stdin="words\n").stdout == "words\n"


def test_death_by_signal(runtime: Runtime, container: str) -> None:
    done = runtime("exec", container, "sh", "-c", "kill -KILL $$", check=False)
    assert done.returncode == 128 + 9


def test_all_namespaces_are_the_containers(runtime: Runtime, container: str) -> None:
    script = "for n in mnt pid net ipc uts; do readlink /proc/$1/ns/$n; done"
    ours = runtime("exec", container, "sh", "-c", script, "sh", "self").stdout
    first = runtime("exec", container, "sh", "-c", script, "sh", "1").stdout
    assert ours == first
    assert len(ours.split()) == 5


def test_environment_directory_and_user(runtime: Runtime, container: str) -> None:
    done = runtime(
        *("exec", "--env", "A=b", "-e", "C=d e", "--cwd", "/tmp", "--user", "1000:1001", "-g", "7"),
        *(container, "sh", "-c", "echo $A; echo $C; pwd; id -u; id -g; id -G; echo $HOME"),
    )
    assert done.stdout.splitlines() == ["b", "d e", "/tmp", "1000", "1001", "1001 7", "/home"]


def test_capabilities(runtime: Runtime, container: str) -> None:
    def effective(*flags: str) -> int:
        done = runtime("exec", *flags, container, "grep", "CapEff", "/proc/self/status")
        return int(done.stdout.split()[1], 16)

    assert effective("--cap", "CAP_CHOWN") == effective() | 1


def test_it_is_in_the_containers_cgroup(runtime: Runtime, container: str) -> None:
    pid = runtime.state(container)["pid"]
    ours = runtime("exec", container, "cat", "/proc/self/cgroup").stdout
    assert ours == Path(f"/proc/{pid}/cgroup").read_text()
    assert container in ours


def test_process_file(runtime: Runtime, bundle: Bundle, container: str) -> None:
    process = dict(bundle.config["process"], args=["sh", "-c", "echo $X"], env=["X=y", "PATH=/bin"])
    path = bundle.path / "process.json"
    path.write_text(json.dumps(process))
    assert runtime("exec", "--process", path, container).stdout == "y\n"
    path.write_text(json.dumps(dict(process, cwd="relative")))
    done = runtime("exec", "--process", path, container, check=False)
    assert done.returncode == 255
    assert "/cwd" in done.stderr


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("nosuch", "executable file not found in $PATH"),
        ("/etc/hosts", "permission denied"),
    ],
)
def test_what_cannot_be_executed(
    runtime: Runtime, container: str, program: str, reason: str
) -> None:
    done = runtime("exec", container, program, check=False)
    assert done.returncode == 255
    assert f'exec: "{program}": {reason}' in done.stderr.replace("\\", "")
    assert runtime.status(container) == "running"


def test_detached_with_a_pid_file(runtime: Runtime, bundle: Bundle, container: str) -> None:
    pid_file = bundle.path / "exec.pid"
    output = bundle.path / "exec.out"
    with output.open("wb") as file:
        subprocess.run(
            runtime.command(
                *("exec", "--detach", "--pid-file", pid_file, container),
                *("sh", "-c", "echo $$; exec sleep 1000"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            check=True,
            timeout=60,
        )
    wait_until(output.read_text, "its output")
    inner = output.read_text().strip()
    status = Path(f"/proc/{pid_file.read_text()}/status").read_text()
    assert next(x for x in status.splitlines() if x.startswith("NSpid")).split()[-1] == inner


def test_a_terminal_of_ones_own(runtime: Runtime, container: str) -> None:
    script = "tty; stty size; read line; echo got $line; exit 4"
    command = runtime.command("exec", "--tty", container, "sh", "-c", script)
    with TerminalProcess(command, rows=33, columns=99) as terminal:
        terminal.expect("/dev/pts/0")
        terminal.expect("33 99")
        terminal.send("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 4
        assert terminal.modes_restored()


def test_a_detached_terminal_by_console_socket(
    runtime: Runtime, container: str, workspace: Path
) -> None:
    with ConsoleSocket(workspace / f"{container}-exec.sock") as console:
        runtime(
            *("exec", "--tty", "--detach", "--console-socket", console.path),
            *(container, "sh", "-c", "tty; read line"),
        )
        screen = console.receive()
    screen.expect("/dev/pts/0")
    screen.send("\n")
    screen.close()


def test_a_detached_terminal_needs_a_socket(runtime: Runtime, container: str) -> None:
    done = runtime("exec", "--tty", "--detach", container, "true", check=False)
    assert done.returncode == 255
    assert "--console-socket" in done.stderr


def test_preserved_descriptors(runtime: Runtime, container: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")

    def with_3_open(*arguments: str) -> str:
        command = runtime.command("exec", *arguments)
        return subprocess.run(
            ["sh", "-c", 'file=$1; shift; exec "$@" 3<"$file"', "sh", path, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    assert with_3_open("--preserve-fds", "1", container, "cat", "/proc/self/fd/3") == "content"
    # without it, 3 is the directory that ls reads
    assert with_3_open(container, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_in_a_user_namespace(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.config["linux"]["uidMappings"] = bundle.config["linux"]["gidMappings"] = mapping
    bundle.namespaces({"type": "user"}).args("sleep", "1000")
    runtime.create(container_id, bundle.path)
    runtime("start", container_id)
    done = runtime(
        "exec", "--user", "5:6", container_id, "sh", "-c", "id -u; cat /proc/self/uid_map"
    )
    assert done.stdout.split() == ["5", "0", "100000", "65536"]


def test_in_a_paused_container(runtime: Runtime, container: str) -> None:
    runtime("pause", container)
    done = runtime("exec", container, "true", check=False)
    assert done.returncode == 255
    assert "paused" in done.stderr
    runtime("resume", container)
    runtime("exec", container, "true")
