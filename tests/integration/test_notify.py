"""$NOTIFY_SOCKET: the container's program reports to the service manager that started the runtime."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import wait_until
from helpers.runtime import Runtime

pytestmark = pytest.mark.root


class Manager:
    """A service manager: the messages that came, and the descriptors with them."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)

    def receive(self) -> tuple[str, list[int]]:
        data, control, _, _ = self.socket.recvmsg(4096, 64)
        fds = array.array("i")
        for _, _, payload in control:
            fds.frombytes(payload)
        return data.decode(), list(fds)


@pytest.fixture
def manager(workspace: Path, container_id: str) -> Iterator[Manager]:
    path = workspace / f"{container_id}.manager"
    made = Manager(str(path))
    yield made
    made.socket.close()
    path.unlink()


def environment(manager: Manager) -> dict[str, str]:
    name = manager.socket.getsockname()
    address = "@" + name[1:].decode() if isinstance(name, bytes) else name
    return dict(os.environ, NOTIFY_SOCKET=address)


@pytest.fixture
def reporter(bundle: Bundle) -> Bundle:
    """A bundle whose program sends each line of /fifo to $NOTIFY_SOCKET.

    busybox cannot send a datagram over AF_UNIX; so the host's Python sends it, from outside, through the
    socket as the container sees it.
    """
    os.mkfifo(bundle.rootfs / "fifo")
    return bundle.sh("echo $NOTIFY_SOCKET > /address; read line < /fifo; exit 3")


def say(runtime: Runtime, name: str, text: str, uid: int = 0) -> None:
    """Send a message as the container's program would: by the address that it was given, as its user."""
    pid = runtime.state(name)["pid"]
    address = Path(f"/proc/{pid}/root/address").read_text().strip()
    assert address == "/run/notify/notify.sock"
    script = (
        "import socket, sys, os; os.setuid(int(sys.argv[3]));"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(sys.argv[2].encode(), sys.argv[1])"
    )
    # /proc/PID/root cannot be used by another user, nor a long path
    for directory in (runtime.root, runtime.root / name):
        os.chmod(directory, 0o711)
    path = str(runtime.root / name / "notify" / "notify.sock")
    wait_until(lambda: os.path.exists(path), "the socket")
    assert os.path.samefile(path, f"/proc/{pid}/root{address}")
    subprocess.run([sys.executable, "-c", script, path, text, str(uid)], check=True, timeout=60)


def start(command: list[str], manager: Manager, output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as file:
        return subprocess.Popen(
            command,
            env=environment(manager),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def expect_ready(manager: Manager, pid: int, *, barrier: bool) -> None:
    assert manager.receive() == ("READY=1\n", [])
    assert manager.receive() == (f"MAINPID={pid}\n", [])
    if barrier:
        text, fds = manager.receive()
        assert (text, len(fds)) == ("BARRIER=1", 1)
        os.close(fds[0])


@pytest.mark.parametrize("program", ["pyrunc", "runc"])
def test_start_ends_when_the_program_is_ready(
    runtime: Runtime,
    request: pytest.FixtureRequest,
    reporter: Bundle,
    container_id: str,
    manager: Manager,
    program: str,
) -> None:
    """The same with runc, but for the barrier, which came with its version 1.2."""
    if program == "runc":
        runtime = request.getfixturevalue("runc")
    runtime.used.add(container_id)
    output = reporter.path / "output"
    create = runtime.command("create", "-b", reporter.path, container_id)
    assert start(create, manager, output).wait(60) == 0
    process = start(runtime.command("start", container_id), manager, output)
    runtime.wait(container_id, "running")
    wait_until((reporter.rootfs / "address").exists, "the program")
    pid = runtime.state(container_id)["pid"]
    say(runtime, container_id, "STATUS=nearly")
    assert process.poll() is None
    say(runtime, container_id, "READY=1\nSTATUS=there", uid=1234)
    expect_ready(manager, pid, barrier=program == "pyrunc")
    assert process.wait(60) == 0
    runtime("delete", "--force", container_id)
    assert not (runtime.root / container_id).exists()


def test_run_detached(
    runtime: Runtime, reporter: Bundle, container_id: str, manager: Manager, no_leaks: Any
) -> None:
    runtime.used.add(container_id)
    command = runtime.command("run", "-d", "-b", reporter.path, container_id)
    process = start(command, manager, reporter.path / "output")
    wait_until((reporter.rootfs / "address").exists, "the program")
    say(runtime, container_id, "READY=1")
    expect_ready(manager, runtime.state(container_id)["pid"], barrier=True)
    assert process.wait(60) == 0
    assert runtime.status(container_id) == "running"
    runtime("delete", "--force", container_id)


def test_in_the_foreground_all_is_passed_on(
    runtime: Runtime, reporter: Bundle, container_id: str, manager: Manager, no_leaks: Any
) -> None:
    runtime.used.add(container_id)
    command = runtime.command("run", "-b", reporter.path, container_id)
    process = start(command, manager, reporter.path / "output")
    wait_until((reporter.rootfs / "address").exists, "the program")
    say(runtime, container_id, "STATUS=nearly")
    assert manager.receive() == ("STATUS=nearly", [])
    say(runtime, container_id, "MAINPID=1\nREADY=1\nSTATUS=there")
    expect_ready(manager, process.pid, barrier=False)
    assert manager.receive() == ("STATUS=there", [])
    say(runtime, container_id, "WATCHDOG=1")
    assert manager.receive() == ("WATCHDOG=1", [])
    (reporter.rootfs / "fifo").write_text("end\n")
    assert process.wait(60) == 3


def test_a_program_that_ends_before_it_is_ready(
    runtime: Runtime, reporter: Bundle, container_id: str, manager: Manager
) -> None:
    runtime.used.add(container_id)
    command = runtime.command("run", "-d", "-b", reporter.path, container_id)
    process = start(command, manager, reporter.path / "output")
    wait_until((reporter.rootfs / "address").exists, "the program")
    (reporter.rootfs / "fifo").write_text("end\n")
    assert process.wait(60) == 0
    assert runtime.status(container_id) == "stopped"


def test_a_manager_at_an_abstract_address_and_a_user_namespace(
    runtime: Runtime, reporter: Bundle, container_id: str
) -> None:
    manager = Manager(b"\0" + container_id.encode())
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    reporter.config["linux"]["uidMappings"] = reporter.config["linux"]["gidMappings"] = mapping
    reporter.namespaces({"type": "user"})
    os.chown(reporter.rootfs, 100000, 100000)
    os.chmod(reporter.rootfs / "fifo", 0o666)
    runtime.used.add(container_id)
    command = runtime.command("run", "-d", "-b", reporter.path, container_id)
    process = start(command, manager, reporter.path / "output")
    wait_until((reporter.rootfs / "address").exists, "the program")
    say(runtime, container_id, "READY=1", uid=100000)
    expect_ready(manager, runtime.state(container_id)["pid"], barrier=True)
    assert process.wait(60) == 0
    manager.socket.close()


def test_a_manager_that_is_not_there(
    runtime: Runtime, reporter: Bundle, container_id: str, no_leaks: Any
) -> None:
    done = runtime.run(
        container_id,
        reporter.path,
        "-d",
        check=False,
        env=dict(os.environ, NOTIFY_SOCKET="/nonexistent/manager"),
    )
    assert done.returncode == 1
    assert "NOTIFY_SOCKET=/nonexistent/manager: No such file or directory" in done.stderr


def test_exec_is_not_told_of_the_socket(
    runtime: Runtime, reporter: Bundle, container_id: str, manager: Manager
) -> None:
    runtime.used.add(container_id)
    create = runtime.command("create", "-b", reporter.path, container_id)
    assert start(create, manager, reporter.path / "output").wait(60) == 0
    runtime("start", container_id)  # whose caller is nobody's service: it does not wait
    assert "NOTIFY_SOCKET" not in runtime("exec", container_id, "env").stdout
