"""`import pyrunc`, with real containers."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.bundle import Bundle
from helpers.command import run_command, wait_until
from helpers.criu import working_criu
from helpers.leaks import Leaks, open_files, zombies
from helpers.runtime import Runtime

import pyrunc
from pyrunc.host import children
from pyrunc.host.facts import HostFacts

pytestmark = pytest.mark.root

DEVNULL, PIPE, STDOUT = pyrunc.DEVNULL, pyrunc.PIPE, pyrunc.STDOUT


@pytest.fixture
def library(runtime: Runtime, sealed_copy: None, leaks: Leaks) -> Iterator[pyrunc.Runtime]:
    """The library, on the state directory of `runtime`; fails a test that leaves anything behind."""
    library = pyrunc.Runtime(runtime.root)
    before = zombies()
    yield library
    left = [*leaks.found(runtime.root), *(f"zombie {pid}" for pid in zombies() - before)]
    for container in library.list():
        container.delete(force=True)
    assert left == []


@pytest.fixture
def box(library: pyrunc.Runtime, bundle: Bundle, container_id: str) -> Iterator[pyrunc.Container]:
    """A running container."""
    bundle.args("sleep", "1000")
    with library.create(container_id, bundle.path, stdin=DEVNULL, stdout=DEVNULL) as container:
        container.start()
        yield container


# ---- a life ------------------------------------------------------------------------------------


def test_one_life(library: pyrunc.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("read line; exit 7")
    container = library.create(container_id, bundle.path, stdin=PIPE)
    assert (container.id, container.status) == (container_id, "created")
    assert container.bundle == str(bundle.path)
    assert container.process is not None
    assert container.process.pid == container.pid == container.state()["pid"]
    container.start()
    assert container.status == "running"
    assert container.pids() == [container.pid]
    assert library.ids() == [container_id]
    assert container.process.stdin is not None
    container.process.stdin.write(b"go\n")
    container.process.stdin.flush()
    assert container.wait() == 7
    assert (container.status, container.pid) == ("stopped", 0)
    container.delete()
    container.process.close()
    assert library.ids() == []


def test_the_command_line_and_the_library_share_containers(
    library: pyrunc.Runtime, runtime: Runtime, box: pyrunc.Container, bundle: Bundle
) -> None:
    assert runtime.state(box.id)["status"] == "running"
    other = f"{box.id}-cli"
    runtime.create(other, bundle.path)
    assert [container.id for container in library.list()] == [box.id, other]
    found = library.get(other)
    assert found.status == "created"
    assert found.process is None
    found.start()
    found.kill("KILL")
    wait_until(lambda: found.status == "stopped", "the end")
    assert found.wait() == 137  # the tests adopt the processes of commands
    found.delete()


def test_run(library: pyrunc.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("cat; echo complaint >&2; exit 4")
    result = library.run(container_id, bundle.path, input=b"data", stdout=PIPE, stderr=PIPE)
    assert result == (4, b"data", b"complaint\n")


def test_a_run_that_takes_too_long_is_killed(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.sh("echo before; sleep 1000")
    with pytest.raises(pyrunc.TimeoutExpired, match=f"{container_id} did not end") as caught:
        library.run(container_id, bundle.path, stdout=PIPE, timeout=1)
    assert caught.value.stdout == b"before\n"
    assert caught.value.timeout == 1


def test_a_bundle_whose_configuration_is_in_no_file(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    config = pyrunc.Bundle.load(bundle.path).copy_config()
    config["process"]["args"] = ["sh", "-c", "exit 9"]
    assert library.run(container_id, pyrunc.Bundle.of(bundle.path, config)).exit_code == 9


def test_a_signal_ends_it(box: pyrunc.Container) -> None:
    box.kill(signal.SIGKILL)
    assert box.wait() == 128 + signal.SIGKILL
    with pytest.raises(pyrunc.StateError, match="stopped"):
        box.kill()


def test_waiting_has_an_end(box: pyrunc.Container) -> None:
    with pytest.raises(pyrunc.TimeoutExpired):
        box.wait(0.05)
    assert box.status == "running"


def test_another_object_takes_nothing_from_the_one_that_created(
    library: pyrunc.Runtime, box: pyrunc.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_told_by_kernel", lambda _: None)  # before Linux 6.15
    other = library.get(box.id)
    box.kill("KILL")
    assert other.wait() == 137
    assert box.wait() == 137
    with pytest.raises(pyrunc.StateError, match="only the program that created it"):
        library.get(box.id).wait()


def test_another_object_of_the_same_container_waits(
    library: pyrunc.Runtime, box: pyrunc.Container
) -> None:
    other = library.get(box.id)
    with pytest.raises(pyrunc.TimeoutExpired):
        other.wait(0.05)
    codes: list[int | str] = []

    def wait() -> None:
        try:
            codes.append(other.wait())
        except pyrunc.StateError as error:
            codes.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    box.kill("KILL")
    assert box.wait() == 137
    thread.join()
    told = HostFacts().kernel >= (6, 15)
    assert codes == [137] or (not told and "only the program that " in str(codes))
    with pytest.raises(pyrunc.StateError, match=r"only the program that (created|started) it"):
        library.get(box.id).wait()


def test_an_old_object_does_not_touch_a_new_container(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.args("sleep", "1000")
    old = library.create(container_id, bundle.path)
    old.delete(force=True)
    with library.create(container_id, bundle.path) as new:
        with pytest.raises(pyrunc.NotFoundError):
            old.start()
        with pytest.raises(pyrunc.NotFoundError):
            _ = old.status
        old.delete(force=True)
        assert new.status == "created"
    assert old.process is not None
    old.process.close()


def test_delete_by_id_takes_what_is_left(library: pyrunc.Runtime, bundle: Bundle) -> None:
    library.delete("nosuch")
    Path(library.root, "half").mkdir(parents=True)
    library.delete("half")
    assert library.ids() == []


# ---- more processes ----------------------------------------------------------------------------


def test_exec(box: pyrunc.Container) -> None:
    script = "echo $A $PWD; id -u; id -g; cat; exit 5"
    with box.exec(
        ["sh", "-c", script],
        env={"A": "b"},
        cwd="/tmp",
        user=(12, 34),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
    ) as process:
        assert process.communicate(b"data") == (b"b /tmp\n12\n34\ndata", None)
        assert process.wait() == 5


def test_exec_of_a_process_object(box: pyrunc.Container) -> None:
    whole = {"args": ["pwd"], "cwd": "/etc", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    with box.exec(process=whole, stdout=PIPE) as process:
        assert process.communicate() == (b"/etc\n", None)
    with pytest.raises(pyrunc.ConfigError, match="/cwd"):
        box.exec(process={**whole, "cwd": "etc"})
    with pytest.raises(pyrunc.UsageError, match="either"):
        box.exec()


def test_exec_of_what_is_not_there(box: pyrunc.Container) -> None:
    with pytest.raises(pyrunc.OperationError, match="executable file not found") as caught:
        box.exec(["nosuch"], stdout=PIPE)
    assert caught.value.errno == 2
    assert caught.value.pointer == "/process/args"


def test_an_executed_process_is_killed_at_the_end_of_its_with(box: pyrunc.Container) -> None:
    with box.exec(["sleep", "1000"]) as process:
        assert len(box.pids()) == 2
    assert box.pids() == [box.pid]
    assert process.exit_code == 137


def test_pause_and_resume(box: pyrunc.Container) -> None:
    box.pause()
    assert box.status == "paused"
    with pytest.raises(pyrunc.StateError, match="paused"):
        box.exec(["true"])
    with pytest.raises(pyrunc.StateError, match="paused"):
        box.pause()
    box.resume()
    assert box.status == "running"


def test_limits(box: pyrunc.Container) -> None:
    box.update({"pids": {"limit": 17}})
    assert box.stats()["pids"]["limit"] == 17
    with pytest.raises(pyrunc.ConfigError) as caught:
        box.update({"pids": {"limit": "many"}})
    assert caught.value.pointer == "/pids/limit"


def test_events(box: pyrunc.Container) -> None:
    threading.Timer(0.6, box.kill, ("KILL",)).start()
    found = list(box.events(interval=0.1))
    assert {event.type for event in found} == {"stats"}
    assert found[0].id == box.id
    assert found[0].data is not None
    assert found[0].data["pids"]["current"] == 1
    with pytest.raises(pyrunc.StateError, match="stopped"):
        next(box.events())


def test_out_of_memory_is_an_event(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    if (
        not os.path.isdir("/sys/fs/cgroup/memory")
        and "memory" not in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    ):
        pytest.skip("no memory controller")
    bundle.config["linux"]["resources"]["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    bundle.sh("read go; head -c 100m /dev/zero | tail; read stop")
    with library.create(container_id, bundle.path, stdin=PIPE, stdout=DEVNULL) as container:
        container.start()
        events = container.events(interval=None)
        found: list[pyrunc.Event] = []
        thread = threading.Thread(target=lambda: found.append(next(events)))
        thread.start()
        time.sleep(0.2)
        assert container.process is not None
        assert container.process.stdin is not None
        container.process.stdin.write(b"go\n")
        container.process.stdin.flush()
        thread.join(30)
        assert found == [("oom", container_id, None)]


# ---- stdio -------------------------------------------------------------------------------------


def test_files(library: pyrunc.Runtime, bundle: Bundle, container_id: str, tmp_path: Path) -> None:
    bundle.sh("cat; echo err >&2")
    (tmp_path / "in").write_text("data\n")
    with (tmp_path / "in").open() as source, (tmp_path / "out").open("w") as out:
        library.run(container_id, bundle.path, stdin=source, stdout=out, stderr=out.fileno())
    assert (tmp_path / "out").read_text() == "data\nerr\n"


def test_descriptors_to_pass(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    bundle.sh("cat <&4; cat <&3; ls /proc/self/fd")
    (tmp_path / "one").write_text("one\n")
    (tmp_path / "two").write_text("two\n")
    with (tmp_path / "one").open() as one, (tmp_path / "two").open() as two:
        result = library.run(
            container_id, bundle.path, stdout=PIPE, pass_fds=(two.fileno(), one.fileno())
        )
    assert result.stdout is not None
    assert result.stdout.split() == [b"one", b"two", b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_terminal(library: pyrunc.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.sh("tty; stty size; read line; stty size; exit 3")
    with library.create(container_id, bundle.path, pty=(30, 90)) as container:
        process = container.process
        assert process is not None
        container.start()
        terminal = process.stdout
        assert terminal is not None
        assert terminal is process.stdin
        said = b""
        while said.count(b"\n") < 2:
            said += terminal.read(100)
        assert said == b"/dev/pts/0\r\n30 90\r\n"
        process.resize(50, 100)
        terminal.write(b"\n")
        out, err = process.communicate()
        assert out is not None
        assert out.endswith(b"50 100\r\n")
        assert err is None
        assert process.wait() == 3


def test_the_terminal_of_the_configuration(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["process"]["terminal"] = True
    bundle.sh("test -t 1")
    result = library.run(container_id, bundle.path)
    assert (result.exit_code, result.stdout) == (0, b"")
    assert library.run(container_id, bundle.path, pty=False, stdout=DEVNULL).exit_code == 1
    with pytest.raises(pyrunc.UsageError, match="has a terminal"):
        library.create(container_id, bundle.path, stdout=PIPE)


def test_exec_with_a_terminal(box: pyrunc.Container) -> None:
    with box.exec(["sh", "-c", "stty size; cat"], pty=(11, 22)) as process:
        assert process.communicate(b"data\n\x04") == (b"data\r\n11 22\r\ndata\r\n", None) or (
            process.wait() == 0
        )


# ---- errors ------------------------------------------------------------------------------------


def test_a_creation_that_fails_leaves_nothing(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["mounts"].append({"destination": "/x", "type": "nosuch", "source": "none"})
    bundle.save()
    with pytest.raises(pyrunc.OperationError, match="fsopen") as caught:
        library.create(container_id, bundle.path, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert caught.value.pointer == "/mounts/5"
    assert caught.value.errno == 19
    assert caught.value.operation is not None
    assert "nosuch" in caught.value.operation


def test_a_program_that_is_missing(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.args("nosuch")
    with library.create(container_id, bundle.path) as container:
        with pytest.raises(pyrunc.OperationError, match="executable file not found"):
            container.start()
        assert container.status == "stopped"
        assert container.wait() == 127


def test_an_init_that_has_told_what_failed_ends_by_itself(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    """Also one that takes its time: it is not killed before it has given the exit code."""
    bundle.args("nosuch")
    program = (
        "import pyrunc, sys\n"
        f"box = pyrunc.Runtime(root={str(library.root)!r}).create({container_id!r}, {str(bundle.path)!r})\n"
        "try:\n box.start()\n"
        "except pyrunc.OperationError:\n print(box.wait())\n"
        "box.delete()\n"
    )
    slow = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=exit_group")
    delay = ("-e", "inject=exit_group:delay_enter=200ms")
    done = run_command([*slow, *delay, sys.executable, "-I", "-c", program])
    assert done.stdout == "127\n"


def test_the_id_is_taken(library: pyrunc.Runtime, box: pyrunc.Container) -> None:
    with pytest.raises(pyrunc.ExistsError):
        library.create(box.id, box.bundle)
    assert box.status == "running"


def test_hooks_that_fail(library: pyrunc.Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    bundle.save()
    with pytest.raises(pyrunc.HookError) as caught:
        library.create(container_id, bundle.path)
    assert caught.value.pointer == "/hooks/createRuntime/0"


def test_warnings_go_to_the_log_of_the_program(
    library: pyrunc.Runtime,
    bundle: Bundle,
    container_id: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    bundle.save()
    with caplog.at_level(logging.WARNING, "pyrunc"):
        library.run(container_id, bundle.path)
    assert any("poststop" in record.message for record in caplog.records)
    assert capfd.readouterr().err == ""


# ---- the program around it ---------------------------------------------------------------------


def test_the_program_is_left_as_it_was(
    library: pyrunc.Runtime,
    bundle: Bundle,
    container_id: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nosuch")
    bundle.sh("exec 2>/dev/null; env; ls /proc/self/fd; test -e /run/notify")

    def look() -> tuple[object, ...]:
        umask = os.umask(0o22)
        os.umask(umask)
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        status = Path("/proc/self/status").read_text()
        kept = [
            line for line in status.splitlines() if line.startswith(("Cap", "NoNew", "Threads"))
        ]
        return (os.getcwd(), umask, handlers, blocked, wakeup, dict(os.environ), kept)

    before = look()
    result = library.run(container_id, bundle.path, stdout=PIPE)
    assert look() == before
    assert result.exit_code == 1
    assert result.stdout is not None
    assert b"LISTEN_FDS" not in result.stdout
    assert b"NOTIFY_SOCKET" not in result.stdout


def test_nothing_of_the_program_gets_into_the_container(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    bundle.sh("ls -l /proc/self/fd; cat /proc/self/status")
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        try:
            result = library.run(container_id, bundle.path, stdin=DEVNULL, stdout=PIPE)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert result.stdout is not None
    assert b"secret" not in result.stdout
    (blocked,) = [line for line in result.stdout.splitlines() if line.startswith(b"SigBlk")]
    assert int(blocked.split()[1], 16) == 0


def test_relative_paths_are_relative_to_the_call(
    runtime: Runtime, bundle: Bundle, container_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.path)
    library = pyrunc.Runtime("state-here")
    monkeypatch.chdir("/")
    assert library.root == f"{bundle.path}/state-here"
    monkeypatch.chdir(bundle.path.parent)
    assert library.run(container_id, bundle.path.name).exit_code == 0
    shutil.rmtree(library.root)


def test_interrupted_creations_leave_nothing(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1000}]
    }
    bundle.save()
    main = threading.get_ident()
    before = open_files()
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        library.create(container_id, bundle.path, stdout=PIPE)
    assert library.ids() == []
    assert open_files() == before


# ---- checkpoints -------------------------------------------------------------------------------

COUNT = "i=0; while :; do i=$((i+1)); echo $i; echo $i >/count; sleep 0.02; done"


def test_a_container_goes_on_from_its_checkpoint(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str
) -> None:
    criu = str(working_criu())
    bundle.sh(COUNT)
    count, images = bundle.rootfs / "count", bundle.path / "images"

    def goes_on() -> None:
        before = count.read_text()
        wait_until(lambda: count.read_text() not in ("", before), "the container goes on")

    with library.create(
        container_id, bundle.path, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    ) as box:
        box.start()
        wait_until(count.exists, "the container counts")
        box.checkpoint(images / "running", leave_running=True, criu=criu)
        goes_on()
        box.checkpoint(images / "last", criu=criu)
        assert box.process is not None
        assert box.wait() == 128 + signal.SIGKILL
        assert library.ids() == []
    number = int(count.read_text())
    with library.restore(
        container_id,
        bundle.path,
        images / "last",
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        criu=criu,
    ) as box:
        assert box.status == "running"
        assert box.process is not None
        assert box.process.stdout is not None
        assert int(box.process.stdout.readline()) >= number
        goes_on()
        box.kill("KILL")
        assert box.wait() == 128 + signal.SIGKILL


def test_a_checkpoint_that_fails_leaves_the_container(
    box: pyrunc.Container, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(pyrunc.HostError, match="no such program"):
        box.checkpoint(tmp_path / "images", criu="/no/such/criu")
    with pytest.raises(TypeError, match="leave_runing"):
        box.checkpoint(tmp_path / "images", leave_runing=True)  # type: ignore[call-arg]
    assert box.status == "running"


def test_a_restoration_that_fails_leaves_nothing(
    library: pyrunc.Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    criu = str(working_criu())
    with pytest.raises(pyrunc.PyruncError, match="images"):
        library.restore(container_id, bundle.path, tmp_path / "images", criu=criu)
    assert library.ids() == []
