"""Checkpoint and restore with a real CRIU."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bundle import Bundle
from helpers.command import Completed, wait_until
from helpers.criu import working_criu
from helpers.runtime import Runtime
from helpers.terminal import ConsoleSocket, TerminalProcess

pytestmark = pytest.mark.root

#: Counts in a file, once in a while.
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done"

#: Counts as well, with a lock.
LOCKER = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>
int main(void)
{
	int number = 0;
	if (flock(open("/lock", O_CREAT | O_RDWR, 0600), LOCK_EX | LOCK_NB) < 0)
		return 1;
	for (;;) {
		FILE *file = fopen("/count", "w");
		fprintf(file, "%d\\n", ++number);
		fclose(file);
		usleep(50000);
	}
}
"""


@pytest.fixture(scope="session")
def criu() -> Path:
    return working_criu()


class Station:
    """A bundle, the images of its container, and what is done with both."""

    def __init__(self, runtime: Runtime, bundle: Bundle, criu: Path, name: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.criu = criu
        self.name = name
        self.images = bundle.path / "images"

    def start(self, script: str = COUNT, *flags: str | Path) -> None:
        self.bundle.sh(script)
        self.runtime.detached("run", self.name, self.bundle.path, "--detach", *flags)

    def checkpoint(self, *flags: str | Path, check: bool = True, **options: Any) -> Completed:
        words = ("--criu", self.criu, "checkpoint", "--image-path", self.images)
        return self.runtime(*words, *flags, self.name, check=check, **options)

    def restore_command(self, *flags: str | Path) -> list[str]:
        words = ("restore", "--bundle", self.bundle.path, "--image-path", self.images)
        return self.runtime.command("--criu", self.criu, *words, *flags)

    def restore(self, *flags: str | Path, name: str = "", check: bool = True) -> Completed:
        """`restore --detach`; its output goes where that of `start` went."""
        output = self.bundle.path / "output"
        self.runtime.used.add(name or self.name)
        with output.open("ab") as file:
            done = subprocess.run(
                [*self.restore_command("--detach", *flags), name or self.name],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
                timeout=120,
            )
        said = output.read_text(errors="replace")
        assert not check or done.returncode == 0, said
        return Completed(done.args, done.returncode, "", said)

    def count(self) -> int:
        path = self.bundle.rootfs / "count"
        seen = ""

        def number() -> bool:
            nonlocal seen  # empty at the moments in which the shell writes it
            seen = path.read_text().strip() if path.exists() else ""
            return bool(seen)

        wait_until(number, "a number")
        return int(seen)

    def counts_on(self) -> None:
        """It runs, and goes on from where it was."""
        before = self.count()
        wait_until(lambda: self.count() > before, "it to count on")

    @property
    def pid(self) -> int:
        pid: int = self.runtime.state(self.name)["pid"]
        return pid


@pytest.fixture
def station(runtime: Runtime, bundle: Bundle, criu: Path, container_id: str) -> Iterator[Station]:
    yield Station(runtime, bundle, criu, container_id)
    runtime.clean()  # what writes into the bundle, before that is removed


def test_a_container_goes_on_where_it_was(station: Station, no_leaks: Any) -> None:
    station.start()
    station.counts_on()
    station.checkpoint()
    assert station.runtime.status(station.name) == "none"
    assert (station.images / "dump.log").is_file()
    stopped_at = station.count()
    time.sleep(0.2)
    assert station.count() == stopped_at
    station.restore("--pid-file", station.bundle.path / "pid")
    station.counts_on()
    assert station.count() > stopped_at
    state = station.runtime.state(station.name)
    assert state["status"] == "running"
    assert (station.bundle.path / "pid").read_text() == str(state["pid"])
    assert state["bundle"] == str(station.bundle.path)
    pids = json.loads(station.runtime("ps", "-f", "json", station.name).stdout)
    assert state["pid"] in pids
    # it is a container as any other
    done = station.runtime("exec", station.name, "sh", "-c", "hostname; readlink /proc/1/ns/time")
    assert done.stdout.split()[0] == "container"
    ours = station.runtime("exec", station.name, "readlink", "/proc/self/ns/time").stdout
    assert ours.strip() == done.stdout.split()[1]
    station.runtime("pause", station.name)
    assert station.runtime.status(station.name) == "paused"
    station.runtime("resume", station.name)
    # and can be checkpointed again
    station.checkpoint()
    station.restore()
    station.counts_on()
    station.runtime("kill", station.name, "KILL")
    station.runtime.wait(station.name, "stopped")
    station.runtime("delete", station.name)
    assert not (station.runtime.root / station.name).exists()


def test_leave_running(station: Station) -> None:
    station.start()
    pid = station.pid
    station.checkpoint("--leave-running")
    assert (station.pid, station.runtime.status(station.name)) == (pid, "running")
    station.counts_on()
    done = station.restore(check=False)
    assert done.returncode == 1
    assert "exists already" in done.stderr


def test_a_paused_container(station: Station) -> None:
    station.start()
    station.counts_on()
    station.runtime("pause", station.name)
    at = station.count()
    station.checkpoint("--leave-running")
    assert station.runtime.status(station.name) == "paused"
    assert station.count() == at
    station.checkpoint()
    assert station.runtime.status(station.name) == "none"
    station.restore()
    station.counts_on()


def test_in_the_foreground(station: Station) -> None:
    station.start("while [ ! -e /end ]; do sleep 0.05; done; echo the end; exit 7")
    station.checkpoint()
    station.runtime.used.add(station.name)
    command = [*station.restore_command(), station.name]
    piped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert piped.returncode == 1
    assert "standard output was a file" in piped.stderr
    output = station.bundle.path / "another"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, text=True
        ) as process,
    ):
        station.runtime.wait(station.name, "running")
        (station.bundle.rootfs / "end").touch()
        code = process.wait(60)
    assert (code, output.read_text()) == (7, "the end\n")
    assert station.runtime.status(station.name) == "none"


def test_pipes_are_replaced_by_ours(station: Station) -> None:
    station.bundle.sh("while read line; do echo got $line; done; exit 5")
    command = station.runtime.command("run", "-b", station.bundle.path, station.name)
    station.runtime.used.add(station.name)
    pipe = subprocess.PIPE
    pipes = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write("one\n")
        assert process.stdout.readline() == "got one\n"
        station.checkpoint()
        assert process.wait(60) == 128 + 9
    command = [*station.restore_command("--no-subreaper"), station.name]
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write("two\n")
        assert process.stdout.readline() == "got two\n"
        process.stdin.close()
        assert process.wait(60) == 5, process.stderr.read()


def test_a_terminal(station: Station) -> None:
    station.bundle.config["process"]["terminal"] = True
    station.bundle.sh("while read line; do echo got $line; done")
    with ConsoleSocket(station.bundle.path / "first.sock") as console:
        station.runtime.detached(
            "run", station.name, station.bundle.path, "-d", "--console-socket", console.path
        )
        screen = console.receive()
    screen.send("one\n")
    screen.expect("got one")
    station.checkpoint()
    screen.close()
    with ConsoleSocket(station.bundle.path / "second.sock") as console:
        station.restore("--console-socket", console.path)
        screen = console.receive()
    screen.send("two\n")
    screen.expect("got two")
    station.checkpoint()
    screen.close()
    with TerminalProcess([*station.restore_command(), station.name]) as terminal:
        terminal.send("three\n")
        terminal.expect("got three")
        station.runtime("kill", station.name, "KILL")
        assert terminal.wait() == 128 + 9
        assert terminal.modes_restored()


def test_a_terminal_needs_a_socket_when_detached(station: Station) -> None:
    station.bundle.config["process"]["terminal"] = True
    station.bundle.save()
    done = station.restore(check=False)
    assert done.returncode == 1
    assert "--console-socket: needed" in done.stderr


def test_mounts_of_the_host_and_of_the_container(
    station: Station, workspace: Path, no_leaks: Any
) -> None:
    outside = workspace / f"{station.name}-outside"
    (outside / "below").mkdir(parents=True)
    (outside / "file").write_text("of the host")
    subprocess.run(["mount", "-t", "tmpfs", "below", outside / "below"], check=True)
    try:
        (outside / "below" / "deep").write_text("deep")
        station.bundle.config["mounts"] += [
            {"destination": "/outside", "source": str(outside), "options": ["rbind", "rprivate"]},
            {"destination": "/one", "source": str(outside / "file"), "options": ["bind", "ro"]},
            {"destination": "/memory", "type": "tmpfs", "source": "tmpfs"},
        ]
        (station.bundle.rootfs / "link").symlink_to("var")
        station.bundle.config["mounts"].append(
            {"destination": "/link/there", "source": str(outside), "options": ["bind"]}
        )
        station.start(f"echo kept > /memory/kept; {COUNT}")
        station.counts_on()
        station.checkpoint()
        (outside / "file").write_text("changed meanwhile")
        station.restore()
        station.counts_on()
        script = (
            "cat /memory/kept /one /outside/below/deep /var/there/file; echo; wc -c < /proc/keys"
        )
        done = station.runtime("exec", station.name, "sh", "-c", script)
        assert done.stdout.split() == [
            *("kept", "changed", "meanwhiledeepchanged", "meanwhile", "0")
        ]
        station.runtime("delete", "--force", station.name)
    finally:
        subprocess.run(["umount", "-l", outside / "below"], check=True)
        shutil.rmtree(outside)


def test_mounts_that_were_added(station: Station, workspace: Path) -> None:
    """The checkpoint takes them for mounts of the host, and the restoration wants them in config.json."""
    outside = workspace / f"{station.name}-added"
    outside.mkdir()
    (outside / "file").write_text("of the host")
    mount = {"destination": "/added", "source": str(outside), "options": ["bind"]}
    file = station.bundle.path / "mounts.json"
    file.write_text(json.dumps([mount]))
    station.start()
    station.counts_on()
    station.runtime("mounts", "add", station.name, file)
    station.checkpoint()
    station.bundle.config["mounts"].append(mount)
    station.bundle.save()
    station.restore()
    station.counts_on()
    assert station.runtime("exec", station.name, "cat", "/added/file").stdout == "of the host"


def test_a_network_namespace_of_ones_own(station: Station) -> None:
    """It is made anew: its loopback device is there, and switched on."""
    station.start()
    station.checkpoint()
    station.restore()
    flags = station.runtime("exec", station.name, "cat", "/sys/class/net/lo/operstate").stdout
    assert flags.strip() in ("unknown", "up")
    carrier = station.runtime("exec", station.name, "cat", "/sys/class/net/lo/carrier").stdout
    assert carrier.strip() == "1"


def test_a_network_namespace_of_others(station: Station) -> None:
    holder = subprocess.Popen(
        ["unshare", "--net", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        path = f"/proc/{holder.pid}/ns/net"
        wait_until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"), "the namespace")
        station.bundle.namespaces({"type": "network", "path": path})
        station.start()
        station.checkpoint()
        station.restore()
        station.counts_on()
        assert os.readlink(f"/proc/{station.pid}/ns/net") == os.readlink(path)
        station.runtime("delete", "--force", station.name)
    finally:
        holder.kill()
        holder.wait()


def test_established_connections(station: Station) -> None:
    script = (
        "ip link set lo up 2>/dev/null; nc -l -p 999 -e sh -c 'while read l; do echo $l >> /got; done' &"
        "sleep 0.5; (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 999"
    )
    station.start(script)
    got = station.bundle.rootfs / "got"
    wait_until(got.exists, "the connection")
    done = station.checkpoint(check=False)
    assert done.returncode == 1
    assert "--tcp-established" in done.stderr
    assert str(station.images / "dump.log") in done.stderr
    assert station.runtime.status(station.name) == "running"
    station.checkpoint("--tcp-established")
    before = len(got.read_text())
    station.restore("--tcp-established")
    wait_until(lambda: len(got.read_text()) > before, "data over the restored connection")


def test_file_locks(station: Station) -> None:
    source = station.bundle.path / "locker.c"
    source.write_text(LOCKER)
    compiler = shutil.which("musl-gcc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: scripts/install-deps build")
    subprocess.run(
        [compiler, "-static", "-o", station.bundle.rootfs / "bin" / "locker", source], check=True
    )
    station.start("exec locker")
    station.counts_on()
    done = station.checkpoint(check=False)
    assert done.returncode == 1
    assert "lock" in done.stderr
    station.counts_on()
    station.checkpoint("--file-locks")
    station.restore("--file-locks")
    station.counts_on()
    with open(station.bundle.rootfs / "lock", "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_unix_sockets_of_the_host(station: Station, workspace: Path) -> None:
    directory = workspace / f"{station.name}-s"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(str(directory / "socket"))
        station.bundle.config["mounts"].append(
            {"destination": "/s", "source": str(directory), "options": ["bind"]}
        )
        station.start()
        station.counts_on()
        station.checkpoint("--ext-unix-sk")
        station.restore("--ext-unix-sk")
        station.counts_on()


def test_another_name_and_its_cgroup(station: Station) -> None:
    station.bundle.config["linux"]["resources"] = {"pids": {"limit": 77}}
    station.start()
    station.counts_on()
    mode = ("--manage-cgroups-mode", "ignore")
    station.checkpoint(*mode)
    other = f"{station.name}-other"
    station.restore(*mode, name=other)
    station.counts_on()
    assert station.runtime.status(station.name) == "none"
    pid = station.runtime.state(other)["pid"]
    assert other in Path(f"/proc/{pid}/cgroup").read_text()
    data = json.loads(station.runtime("events", "--stats", other).stdout)["data"]
    assert data["pids"]["limit"] == 77


@pytest.mark.parametrize("mode", ["soft", "full"])
def test_modes_of_cgroups(station: Station, mode: str) -> None:
    station.start()
    station.counts_on()
    station.checkpoint("--manage-cgroups-mode", mode)
    station.restore("--manage-cgroups-mode", mode)
    station.counts_on()


def test_the_strict_mode_of_cgroups(station: Station, no_leaks: Any) -> None:
    """It wants no cgroup to be there, and there is always that of the container; so it is with runc."""
    station.start()
    station.checkpoint("--manage-cgroups-mode", "strict")
    done = station.restore("--manage-cgroups-mode", "strict", check=False)
    assert done.returncode == 1
    assert "Abort restore of existing cgroups" in done.stderr


def test_a_user_namespace(station: Station) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = station.bundle.config["linux"]
    linux["uidMappings"] = linux["gidMappings"] = mapping
    station.bundle.namespaces({"type": "user"})
    os.chown(station.bundle.rootfs, 100000, 100000)
    station.start()
    (station.bundle.path / "output").chmod(0o666)  # CRIU opens it anew, as the container's root
    station.counts_on()
    station.checkpoint()
    station.restore()
    station.counts_on()
    assert station.runtime("exec", station.name, "id", "-u").stdout.strip() == "0"
    assert os.stat(f"/proc/{station.pid}").st_uid == 100000


def test_a_cgroup_namespace(station: Station) -> None:
    station.bundle.namespaces({"type": "cgroup"})
    station.bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    )
    station.start()
    station.counts_on()
    station.checkpoint()
    station.restore()
    station.counts_on()


def test_cgroups_of_the_host_are_seen(station: Station) -> None:
    station.bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    )
    station.start()
    station.counts_on()
    station.checkpoint()
    station.restore()
    station.counts_on()


def test_hooks(station: Station) -> None:
    log = station.bundle.path / "hooks"

    def hook(name: str) -> dict[str, Any]:
        script = f'echo {name} "$(cat)" >> {log}'
        return {"path": "/bin/sh", "args": ["sh", "-c", script]}

    station.bundle.config["hooks"] = {
        name: [hook(name)] for name in ("prestart", "createRuntime", "poststop")
    }
    station.start()
    station.checkpoint()
    assert log.read_text().split("\n")[-2].startswith("poststop")
    log.unlink()
    station.restore()
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [name for name, _ in lines] == ["prestart", "createRuntime"]
    state = json.loads(lines[0][1])
    assert (state["status"], state["id"]) == ("created", station.name)
    assert state["pid"] > 0


def test_work_path(station: Station) -> None:
    work = station.bundle.path / "work"
    station.start()
    station.checkpoint("--work-path", work)
    assert (work / "dump.log").is_file()
    assert not (station.images / "dump.log").exists()
    station.restore("--work-path", work)
    assert (work / "restore.log").is_file()


def test_the_default_place(station: Station, tmp_path: Path) -> None:
    station.start()
    runtime = station.runtime
    runtime("--criu", station.criu, "checkpoint", station.name, cwd=tmp_path)
    assert (tmp_path / "checkpoint" / "inventory.img").is_file()


def test_images_that_are_damaged(station: Station, no_leaks: Any) -> None:
    station.start()
    station.checkpoint()
    (station.images / "pstree.img").write_bytes(b"nothing of the kind")
    done = station.restore(check=False)
    assert done.returncode == 1
    assert "CRIU: restore failed" in done.stderr
    assert str(station.images / "restore.log") in done.stderr
    assert station.runtime.status(station.name) == "none"


def test_pre_dump(station: Station) -> None:
    station.start()
    first = station.bundle.path / "first"
    done = station.runtime(
        *("--criu", station.criu, "checkpoint", "--pre-dump", "--image-path", first, station.name),
        check=False,
    )
    if done.returncode:
        assert "--pre-dump: this kernel, or CRIU, has no tracking of changed memory" in done.stderr
        station.counts_on()
        pytest.skip("this kernel does not track changed memory (CONFIG_MEM_SOFT_DIRTY)")
    assert station.runtime.status(station.name) == "running"
    station.counts_on()
    station.checkpoint("--parent-path", "../first", "--auto-dedup")
    assert (station.images / "parent").is_symlink()
    station.restore("--auto-dedup")
    station.counts_on()


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs, and kills those that are left, with their children: none is waited for without end."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, text=True, process_group=0, **options
            )
            stack.callback(end, process)
            return process

        def end(process: subprocess.Popen[str]) -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            if process.stderr is not None:
                process.stderr.close()

        yield start


def byte_of(fd: int, limit: float = 60) -> bytes:
    """The byte that comes from a pipe, or b"" at its end; fails after `limit` seconds."""
    readable, _, _ = select.select([fd], [], [], limit)
    assert readable, f"waited {limit:g} s for the status of CRIU"
    return os.read(fd, 1)


def test_lazy_pages(station: Station, started: Callable[..., subprocess.Popen[str]]) -> None:
    station.start()
    station.counts_on()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reader, writer = os.pipe()
    flags = ("--lazy-pages", "--page-server", f"127.0.0.1:{port}", "--status-fd", str(writer))
    words = ("--criu", station.criu, "checkpoint", "--image-path", station.images)
    dump = started(
        station.runtime.command(*words, *flags, station.name),
        pass_fds=(writer,),
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    status = byte_of(reader)
    os.close(reader)
    if status != b"\0":
        _, said = dump.communicate(timeout=60)
        assert "--lazy-pages: this kernel, or CRIU, has no userfaultfd" in said
        pytest.skip("no userfaultfd for other processes here")
    work = station.bundle.path / "lazy"
    work.mkdir()
    words = ("lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", str(port))
    daemon = started(
        [str(station.criu), *words, "-D", str(station.images), "-W", str(work)],
        stdout=subprocess.DEVNULL,
    )
    wait_until((work / "lazy-pages.socket").exists, "criu lazy-pages")
    other = f"{station.name}-other"
    station.runtime.used.add(other)
    flags = ("--lazy-pages", "--work-path", str(work), "--manage-cgroups-mode", "ignore")
    with (station.bundle.path / "output").open("ab") as file:
        restore = started(
            [*station.restore_command("--detach", *flags), other], stdout=file, stderr=file
        )
    wait_until(lambda: dump.poll() is not None, "the memory to be fetched")
    _, said = dump.communicate(timeout=60)
    if dump.returncode and "splice: -1: Bad file descriptor" in said:
        # nobody will send the memory that both of these wait for
        os.killpg(restore.pid, signal.SIGKILL)
        os.killpg(daemon.pid, signal.SIGKILL)
        pytest.skip("this CRIU cannot serve memory: its page server splices from descriptor -1")
    assert dump.returncode == 0, said
    assert restore.wait(60) == 0
    station.counts_on()
    assert daemon.wait(60) == 0


@pytest.mark.parametrize("first", ["pyrunc", "runc"])
def test_images_of_runc_and_for_runc(
    station: Station,
    runc: Runtime,
    container_id: str,
    first: str,
) -> None:
    other = Station(runc, station.bundle, station.criu, container_id)
    (station.bundle.path / "outside").mkdir()
    (station.bundle.path / "outside" / "file").write_text("of the host")
    station.bundle.config["mounts"].append(
        {
            "destination": "/outside",
            "type": "bind",
            "source": str(station.bundle.path / "outside"),
            "options": ["bind"],
        }
    )
    one, two = (station, other) if first == "pyrunc" else (other, station)
    # CRIU takes an output that is a file of the host as one of the container; runc's pipes it replaces
    one.bundle.sh(f"exec </dev/null >/dev/null 2>&1; {COUNT}")
    one.runtime.detached("run", one.name, one.bundle.path, "--detach")
    one.counts_on()
    one.checkpoint()
    two.restore()
    two.counts_on()
    assert two.runtime("exec", two.name, "cat", "/outside/file").stdout == "of the host"
    two.runtime.clean()
