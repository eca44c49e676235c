"""`Process`, with processes that are in no container."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from helpers.leaks import open_files, zombies

import pyrunc
from pyrunc.host.facts import HostFacts
from pyrunc.library.process import Process, reap_abandoned
from pyrunc.library.stdio import DEVNULL, PIPE, STDOUT, Streams


def start(
    script: str, *, stdin: int = DEVNULL, stdout: int = DEVNULL, stderr: int = DEVNULL
) -> Process:
    streams = Streams(stdin, stdout, stderr)
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams.theirs)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ, file_actions=actions)
    streams.close_theirs()
    return Process(pid, os.pidfd_open(pid), streams.ours)


def test_exit_codes() -> None:
    with start("exit 3") as process:
        assert process.wait() == 3
        assert process.exit_code == 3
    with start("kill -TERM $$") as process:
        assert process.wait() == 128 + signal.SIGTERM


def test_it_runs() -> None:
    with start("sleep 100") as process:
        assert process.exit_code is None
        process.kill("USR1")
        assert process.wait() == 128 + signal.SIGUSR1
        process.kill("KILL")  # no error


def test_the_end_of_the_with_is_the_end_of_the_process() -> None:
    with start("sleep 100") as process:
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(pyrunc.StateError, match="closed"):
        process.fileno()


def test_a_signal_that_does_not_exist() -> None:
    with start("sleep 100") as process, pytest.raises(pyrunc.UsageError, match="NOSUCH"):
        process.kill("NOSUCH")


def test_timeout() -> None:
    with start("sleep 100") as process:
        with pytest.raises(pyrunc.TimeoutExpired, match=r"did not end within 0\.01 s") as caught:
            process.wait(0.01)
        assert caught.value.timeout == 0.01
        assert process.exit_code is None


def test_all_threads_that_wait_are_told() -> None:
    codes: list[int] = []
    with start("sleep 0.2; exit 7") as process:
        threads = [threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == [7] * 8


@pytest.mark.skipif(
    HostFacts().kernel < (6, 15),
    reason="Linux before 6.15 cannot tell",
)
def test_children_taken_away_by_others() -> None:
    with start("exit 5") as process:
        os.waitpid(process.pid, 0)
        assert process.wait() == 5


def test_communicate_with_much_in_all_directions() -> None:
    data = bytes(range(256)) * 4096
    with start(
        "cat; head -c 300000 /dev/zero >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE
    ) as process:
        assert process.communicate(data) == (data, bytes(300000))
        assert process.wait() == 0


def test_communicate_with_one_that_does_not_read() -> None:
    with start("exit 1", stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(bytes(1 << 20)) == (b"", None)


def test_communicate_without_an_input_ends_it() -> None:
    with start("cat; echo end", stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate() == (b"end\n", None)


def test_communicate_in_time_or_not() -> None:
    with start("echo before; sleep 0.5; echo after", stdout=PIPE) as process:
        with pytest.raises(pyrunc.TimeoutExpired) as caught:
            process.communicate(timeout=0.2)
        assert caught.value.stdout == b"before\n"
        assert process.communicate() == (b"before\nafter\n", None)


def test_stderr_where_stdout_goes() -> None:
    with start("echo out; echo err >&2", stdout=PIPE, stderr=STDOUT) as process:
        assert process.communicate() == (b"out\nerr\n", None)


def test_an_input_needs_a_pipe() -> None:
    with start("true") as process, pytest.raises(pyrunc.UsageError, match="stdin is no PIPE"):
        process.communicate(b"data")


def test_no_terminal_to_resize() -> None:
    with start("true") as process, pytest.raises(pyrunc.UsageError, match="no terminal"):
        process.resize(24, 80)


def test_files_and_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        streams = Streams(DEVNULL, file, file.fileno(), [file.fileno()])
        assert streams.theirs[1:] == [file.fileno()] * 3
        streams.close()
    with pytest.raises(pyrunc.UsageError, match="stdout: descriptor 999 is not open"):
        Streams(DEVNULL, 999, DEVNULL)
    with pytest.raises(pyrunc.UsageError, match="stdin: -2"):
        Streams(STDOUT, DEVNULL, DEVNULL)


def test_nothing_is_kept_of_processes_that_nobody_refers_to() -> None:
    files, dead = open_files(), zombies()
    start("exit 0", stdin=PIPE, stdout=PIPE).close()
    process = start("sleep 0.1")
    del process
    gc.collect()
    deadline = time.monotonic() + 10
    while zombies() - dead or open_files() - files:
        assert time.monotonic() < deadline, (zombies() - dead, open_files() - files)
        time.sleep(0.02)
        reap_abandoned()


def test_descriptors_are_close_on_exec() -> None:
    with start("true", stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        fds = [process.fileno()]
        fds += [file.fileno() for file in (process.stdin, process.stdout, process.stderr) if file]
        assert len(fds) == 4
        assert not any(os.get_inheritable(fd) for fd in fds)
