#!/usr/bin/env python3
"""A service that runs untrusted snippets, each in a container without network, privileges or a writable disk.

    snippets.py /run/snippets.sock /srv/images/alpine

It listens on an AF_UNIX socket. A request is a line of JSON, an answer another one:

    {"code": "echo hello"}
    {"exitCode": 0, "stdout": "hello\\n", "stderr": "", "stopped": null}

`stopped` says why a snippet was killed: "time" or "output". What it can do is decided by four things:

* namespaces: a network with nothing but loopback, its own processes, mounts and host name;
* a user without capabilities, who can gain none (no_new_privs);
* a cgroup: memory, processes, CPU time;
* a seccomp filter that knows the system calls which interpreters need, and no others: no sockets, no ptrace, no mounts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from typing import Any

import pyrunc
import pyrunc.aio

AT_A_TIME = 4
TIME_LIMIT = 5.0  # seconds
OUTPUT_LIMIT = 64 * 1024  # bytes, of each of stdout and stderr
REQUEST_LIMIT = 64 * 1024  # bytes
MEMORY_LIMIT = 64 * 1024 * 1024  # bytes
NOBODY = 65534

_NAMES = """
    access alarm arch_prctl brk capget chdir chmod clock_getres clock_gettime clock_nanosleep close close_range
    dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat
    faccessat2 fchdir fchmod fchmodat fchmodat2 fcntl fdatasync fork flock fstat fstatfs fsync ftruncate futex
    getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid gettimeofday getuid ioctl kill
    link linkat lseek lstat madvise membarrier memfd_create mkdir mkdirat mmap mprotect mremap msync munmap
    nanosleep newfstatat open openat openat2 pause pipe pipe2 poll ppoll prctl pread64 preadv prlimit64 pselect6
    pwrite64 pwritev read readlink readlinkat readv rename renameat renameat2 restart_syscall rmdir rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    sched_getaffinity sched_getparam sched_getscheduler sched_yield select sendfile set_robust_list
    set_tid_address setgid setgroups setitimer setpgid setrlimit setsid setuid sigaltstack stat statfs statx
    symlink symlinkat sysinfo tgkill time timer_create timer_delete timer_gettime timer_settime times truncate
    umask uname unlink unlinkat utime utimensat vfork wait4 waitid write writev
"""
ALLOWED = _NAMES.split()

NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, without CLONE_NEWTIME, which clone(2) does not know

SECCOMP = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,  # EPERM
    "syscalls": [
        {"names": ALLOWED, "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": NEW_NAMESPACES, "op": "SCMP_CMP_MASKED_EQ"}],
        },
        # a filter cannot see its arguments: with ENOSYS, C libraries use clone(2)
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ],
}


def configure(rootfs: str) -> dict[str, Any]:
    """The config.json of all snippets."""
    config = pyrunc.Bundle.default_config()
    config["root"] = {"path": rootfs, "readonly": True}
    config["hostname"] = "snippet"
    process = config["process"]
    process["args"] = ["sh", "-s"]  # the snippet comes on stdin
    process["terminal"] = False
    process["user"] = {"uid": NOBODY, "gid": NOBODY}
    process["cwd"] = "/tmp"
    process["capabilities"] = {}
    config["mounts"].append(
        {
            "destination": "/tmp",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "noexec", "mode=1777", "size=16m"],
        }
    )
    config["linux"]["seccomp"] = SECCOMP
    config["linux"]["resources"] |= {
        "memory": {"limit": MEMORY_LIMIT, "swap": MEMORY_LIMIT},
        "pids": {"limit": 32},
        "cpu": {"period": 100_000, "quota": 50_000},
    }
    return config


class Service:
    """Runs snippets, a few at a time."""

    def __init__(self, rootfs: str, state: str | None = None) -> None:
        self.runtime = pyrunc.aio.Runtime(state)
        self.bundle = pyrunc.Bundle.of("/", configure(rootfs))
        self.places = asyncio.Semaphore(AT_A_TIME)
        self.numbers = itertools.count(1)

    async def run(self, code: str) -> dict[str, object]:
        """Run one snippet to its end, or to its limits."""
        pipe = pyrunc.PIPE
        async with (
            self.places,
            await self.runtime.create(
                f"snippet-{os.getpid()}-{next(self.numbers)}",
                self.bundle,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
            ) as container,
        ):
            await container.start()
            process = container.process
            assert process is not None
            assert process.stdin is not None
            process.stdin.write(code.encode())
            process.stdin.close()
            stopped: list[str] = []

            def stop(why: str) -> None:
                if not stopped and process.exit_code is None:
                    stopped.append(why)
                    process.kill("KILL")

            async def read(stream: asyncio.StreamReader | None) -> str:
                assert stream is not None
                said = b""
                while part := await stream.read(OUTPUT_LIMIT):
                    said = (said + part)[:OUTPUT_LIMIT]
                    if len(said) == OUTPUT_LIMIT:
                        stop("output")
                return said.decode(errors="replace")

            timer = asyncio.get_running_loop().call_later(TIME_LIMIT, stop, "time")
            out, err = await asyncio.gather(read(process.stdout), read(process.stderr))
            exit_code = await process.wait()
            timer.cancel()
        why = stopped[0] if stopped else None
        return {"exitCode": exit_code, "stdout": out, "stderr": err, "stopped": why}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while line := await reader.readline():
                try:
                    answer = await self.run(str(json.loads(line)["code"]))
                except (ValueError, KeyError, TypeError) as error:
                    answer = {"error": f"not a request: {error}"}
                except pyrunc.PyruncError as error:
                    answer = {"error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # it has gone, or its line is too long
            return
        finally:
            writer.close()


async def serve(path: str, rootfs: str, state: str | None) -> None:
    service = Service(rootfs, state)
    server = await asyncio.start_unix_server(service.answer, path, limit=REQUEST_LIMIT)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: snippets.py socket rootfs [state-directory]")
    asyncio.run(serve(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
