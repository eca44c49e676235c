"""Faults in the middle of an operation, by strace(1): system calls that fail, and death at any of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.command import LIMIT
from helpers.leaks import children, zombies
from helpers.runtime import Runtime

_LINE = re.compile(r"(?:(\d+) +)?(\w+)\((.*)")

#: What a system call may fail with, when the machine is in trouble.
ERRORS = {
    "accept4": ("EMFILE", "ECONNABORTED"),
    "bind": ("ENOSPC", "EACCES"),
    "clone3": ("EAGAIN", "ENOMEM", "ENOSPC"),
    "connect": ("EACCES", "EINTR"),
    "execve": ("ENOMEM", "EACCES"),
    "execveat": ("ENOMEM", "EACCES"),
    "fchmod": ("EROFS", "EIO"),
    "fchown": ("EIO", "ENOSPC"),
    "flock": ("EINTR", "ENOLCK"),
    "fsconfig": ("ENOMEM", "EINVAL"),
    "fsmount": ("EMFILE", "ENOMEM"),
    "fsopen": ("EMFILE", "ENOMEM"),
    "ftruncate": ("ENOSPC", "EINTR"),
    "getdents64": ("EIO", "ENOMEM"),
    "listen": ("EADDRINUSE",),
    "memfd_create": ("EMFILE", "ENOMEM"),
    "mkdir": ("ENOSPC", "EACCES", "EROFS"),
    "mkdirat": ("ENOSPC", "EACCES", "EROFS"),
    "mknodat": ("ENOSPC", "EPERM"),
    "mmap": ("ENOMEM",),
    "mount": ("ENOMEM", "EPERM"),
    "mount_setattr": ("ENOMEM", "EPERM"),
    "move_mount": ("ENOMEM", "EACCES"),
    "newfstatat": ("EIO", "EACCES"),
    "open_tree": ("EMFILE", "ENOMEM", "EACCES"),
    "openat": ("EMFILE", "ENFILE", "ENOMEM", "EACCES", "EINTR"),
    "openat2": ("EMFILE", "ENOMEM", "EACCES", "EINTR", "EAGAIN"),
    "pidfd_open": ("EMFILE", "ENOMEM"),
    "pidfd_send_signal": ("EPERM",),
    "pipe2": ("EMFILE",),
    "pivot_root": ("EBUSY", "EPERM"),
    "poll": ("EINTR", "ENOMEM"),
    "prctl": ("EPERM",),
    "read": ("EIO", "EINTR"),
    "recvfrom": ("EINTR", "ENOMEM"),
    "recvmsg": ("EINTR", "ENOMEM"),
    "rename": ("ENOSPC", "EACCES"),
    "rmdir": ("EBUSY", "EACCES"),
    "sendfile": ("ENOSPC", "EINTR"),
    "sendmsg": ("EINTR", "ENOBUFS"),
    "sendto": ("EINTR", "ENOBUFS"),
    "setgroups": ("EPERM", "ENOMEM"),
    "setns": ("ENOMEM", "EPERM"),
    "sethostname": ("EPERM",),
    "setresuid": ("EAGAIN", "EPERM"),
    "setsid": ("EACCES",),
    "signalfd4": ("EMFILE", "ENOMEM"),
    "socket": ("EMFILE", "ENOMEM", "EACCES"),
    "socketpair": ("EMFILE", "ENOMEM"),
    "symlinkat": ("ENOSPC", "EACCES"),
    "umount2": ("EBUSY", "EPERM"),
    "unlink": ("EACCES", "EROFS"),
    "unshare": ("ENOMEM", "ENOSPC", "EPERM"),
    "write": ("ENOSPC", "EIO", "EINTR"),
}

#: System calls after which nothing is different outside the process: to die there is to die at the next one.
_INWARD = {
    *("access", "brk", "close", "dup", "dup2", "epoll_create1", "fcntl", "fstat"),
    *("fstatfs", "futex", "getcwd", "getdents64", "getegid", "geteuid", "getgid"),
    *("getpid", "getrandom", "getresgid", "getresuid", "getrlimit", "getsockname"),
    *("getsockopt", "gettid", "getuid", "ioctl", "lseek", "madvise", "mmap"),
    *("mprotect", "munmap", "newfstatat", "poll", "prctl", "pread64", "read"),
    *("readlink", "rt_sigaction", "rt_sigprocmask", "sigaltstack", "statfs"),
    *("sysinfo", "umask", "uname"),
}

#: System calls that a slow disk holds up.
_SLOW = ("openat", "read", "write", "rename", "mkdir")


class Call(NamedTuple):
    """A system call: the `nth` of its name in its process."""

    name: str
    nth: int

    @property
    def has_effect(self) -> bool:
        """Something outside the process is different after it."""
        return self.name not in _INWARD

    def death(self) -> str:
        """The fault that kills the process there."""
        return f"inject={self.name}:signal=KILL:when={self.nth}"

    def stop(self) -> str:
        """The fault that stops the process there."""
        return f"inject={self.name}:signal=STOP:when={self.nth}"

    def failures(self) -> Iterator[str]:
        """The faults in which it fails, or is late by a tenth of a second."""
        for error in ERRORS.get(self.name, ()):
            yield f"inject={self.name}:error={error}:when={self.nth}"
        if self.name in _SLOW:
            yield f"inject={self.name}:delay_enter=100000:when={self.nth}"


def take_orphans(but: int = 0) -> None:
    """Take ended children away: a pid namespace does not end before all of its processes are."""
    for pid in zombies() - {but}:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


class Faults:
    """Runs operations of a runtime under strace."""

    def __init__(self, runtime: Runtime, directory: Path) -> None:
        self.runtime = runtime
        self._trace = directory / "trace"
        self._output = directory / "said"
        self._follows = False

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._output.open("wb") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def _end(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Wait for the runtime's end; its exit status, negative for a signal, and what it said."""
        deadline = time.monotonic() + LIMIT
        pause = 0.005
        # a tracer that follows processes would wait for the container's end
        while (code := process.poll()) is None and (code := self._exited()) is None:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise AssertionError(f"{process.args!r}: hangs\n{self._output.read_text()}")
            if pause > 0.05:
                take_orphans(process.pid)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        if process.poll() is None:
            process.terminate()
            process.wait()
        return code, self._output.read_text(errors="replace")

    def _exited(self) -> int | None:
        if not self._follows or not self._trace.exists():
            return None
        text = self._trace.read_text(errors="replace")
        first = text.partition(" ")[0]
        match = re.search(rf"^{re.escape(first)} +\+\+\+ (exited with|killed by) (\w+)", text, re.M)
        if match is None:
            return None
        return int(match[2]) if match[1] == "exited with" else -signal.Signals[match[2]]

    def _traced(self, arguments: list[str | Path], *options: str) -> subprocess.Popen[bytes]:
        self._trace.unlink(missing_ok=True)
        self._follows = "-f" in options
        command = ["strace", "-I", "2", "-q", "-o", str(self._trace), *options]
        return self._start([*command, *self.runtime.command(*arguments)])

    def calls(self, *arguments: str | Path, follow: bool = False) -> list[Call]:
        """Run an operation, and list its system calls from the first on that has to do with its container.

        With `follow`, those of the processes that it starts, which are the container's init; without such as cannot
        be told from the runtime's own, as strace counts in each process anew.
        """
        code, said = self._end(self._traced(list(arguments), *(("-f",) if follow else ())))
        if code != 0:
            raise AssertionError(f"{arguments}: exit status {code}\n{said}")
        counts: Counter[tuple[str, str]] = Counter()
        found: dict[Call, None] = {}
        first = ""
        begun = False
        for line in self._trace.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            pid, name, rest = match.groups(default="")
            first = first or pid
            counts[pid, name] += 1
            begun = begun or (name != "execve" and str(self.runtime.root) in rest)
            if begun and (pid != first) == follow:
                found[Call(name, counts[pid, name])] = None
        return [c for c in found if not follow or c.nth > counts[first, c.name]]

    def run(self, fault: str, *arguments: str | Path, follow: bool = False) -> tuple[int, str]:
        """Run an operation with a fault; its exit status and what it said."""
        return self._end(self._traced(list(arguments), "-e", fault, *(("-f",) if follow else ())))

    def abandon(self, fault: str, *arguments: str | Path) -> tuple[int, str]:
        """Run an operation whose init is stopped by a fault; kill the runtime then, and let the init go on."""
        tracer = self._traced(list(arguments), "-f", "-e", fault)
        deadline = time.monotonic() + LIMIT
        while (stopped := self._stopped()) == 0 and tracer.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{fault}: nothing is stopped")
            time.sleep(0.005)
        if stopped:
            for pid in children(tracer.pid):
                if pid != stopped:
                    os.kill(pid, signal.SIGKILL)
            done = self._end(tracer)
            # what the dead runtime started is ours now, and goes on without its tracer
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)
            return done
        return self._end(tracer)

    def _stopped(self) -> int:
        if not self._trace.exists():
            return 0
        match = re.search(r"^(\d+) +--- stopped by SIGSTOP", self._trace.read_text(), re.M)
        return int(match[1]) if match else 0

    def plain(self, *arguments: str | Path) -> tuple[int, str]:
        """Run an operation without faults."""
        self._follows = False
        return self._end(self._start(self.runtime.command(*arguments)))
