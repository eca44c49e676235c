"""What the tests of cgroups have in common: processes to put there, and what they may do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pyrunc.cgroups import Cgroup

_SLEEP = """
import os, signal, time
signal.signal(signal.SIGTERM, {handler})
print(flush=True)
while True:
    time.sleep(60)
"""


class Sleepers:
    """Starts processes that sleep, and ends them with `close`."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(self, handler: str = "signal.SIG_DFL") -> int:
        """The pid of a new one. `handler` is Python code for what SIGTERM does to it."""
        process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _SLEEP.format(handler=handler)], stdout=subprocess.PIPE
        )
        self._started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        return process.pid

    def close(self) -> None:
        """Kill and reap all."""
        for process in self._started:
            process.kill()
            process.wait()


def enter(cgroup: Cgroup) -> str:
    """Python code by which a process of one thread moves itself into a cgroup."""
    files = cgroup.self_join_files() or [f"{cgroup.plan.paths['']}/cgroup.procs"]
    return "".join(f"open({file!r}, 'w').write('0')\n" for file in files)


def python(code: str, *arguments: str | Path) -> str:
    """What a Python program prints."""
    command = [sys.executable, "-IS", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


_TRY_DEVICES = """
import os, sys
for major, minor in ((1, 3), (1, 5), (1, 11)):
    path = os.path.join(sys.argv[1], f'{major}-{minor}')
    os.mknod(path, 0o020600, os.makedev(major, minor))
    for name, flags in (('r', os.O_RDONLY), ('w', os.O_WRONLY)):
        try:
            os.close(os.open(path, flags))
            print(name, end='')
        except PermissionError:
            print('-', end='')
    os.unlink(path)
"""


def devices_in(cgroup: Cgroup, scratch: Path) -> str:
    """Whether null, zero and kmsg open for reading and writing, by a process in the cgroup."""
    return python(enter(cgroup) + _TRY_DEVICES, scratch)


def wait_gone(pid: int) -> None:
    """Wait until a child has ended, and reap it."""
    deadline = time.monotonic() + 10
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def end(cgroup: Cgroup) -> None:
    """Kill the processes, reap them, and remove the cgroup."""
    pids = cgroup.pids()
    cgroup.kill(signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    cgroup.destroy()
    assert not cgroup.exists()
