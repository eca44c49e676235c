"""Compiled filters installed in a child process: what the kernel makes of them. Needs no root, but
no_new_privs.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.seccomp_agent import Answer, Notification, SeccompAgent
from helpers.seccomp_profiles import X86, X86_64, engine_profile, numbers

from pyrunc.plan.seccomp import SeccompFilter, compile_filter
from pyrunc.plan.seccomp_tables import supported

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the calls are made by their x86 numbers"
)

_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER = 38, 1
_libc = ctypes.CDLL(None, use_errno=True)
GETPPID = numbers(X86_64)["getppid"]


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def syscall(number: int, *args: Any) -> int:
    """The result of a system call, or the negative error number."""
    result = _libc.syscall(ctypes.c_long(number), *args)
    return -ctypes.get_errno() if result == -1 else result


def install(filter_: SeccompFilter) -> int:
    """What seccomp(2) returns for the filter in this process: 0, or a listener."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    program = _SockFprog(len(filter_.program) // 8, filter_.program)
    result = syscall(
        numbers(X86_64)["seccomp"], _SET_MODE_FILTER, filter_.flags, ctypes.byref(program)
    )
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def start(
    profile: dict[str, Any],
    action: Callable[[], object],
    installed: Callable[[int], None] = lambda listener: None,
) -> tuple[int, int]:
    """Run `action` under the filter of `profile` in a child; `installed` gets what seccomp(2) gave.

    Returns:
        The child's pid and the pipe that `finish` reads.
    """
    filter_ = compile_filter(profile, cache_dir=None)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            installed(install(filter_))
            os.write(writer, json.dumps(action()).encode())
            os._exit(0)
        except BaseException as failure:  # the child must not return into pytest
            os.write(2, f"{failure!r}\n".encode())
            os._exit(99)
    os.close(writer)
    return pid, reader


def finish(pid: int, reader: int) -> tuple[Any, int]:
    """What the action returned (None where it did not get so far), and the child's wait status."""
    with open(reader, "rb") as file:
        result = file.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(result) if result else None, status


def under(profile: dict[str, Any], action: Callable[[], object]) -> tuple[Any, int]:
    """`start` and `finish` at once."""
    return finish(*start(profile, action))


def denying(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": list(names), "action": action, **more}],
    }


@pytest.mark.parametrize(
    ("more", "result"),
    [({}, -errno.EPERM), ({"errnoRet": errno.EL3HLT}, -errno.EL3HLT), ({"errnoRet": 0}, 0)],
)
def test_errno(more: dict[str, int], result: int) -> None:
    profile = denying("SCMP_ACT_ERRNO", "getppid", **more)
    assert under(profile, lambda: syscall(GETPPID)) == (result, 0)


@pytest.mark.parametrize(
    "action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"]
)
def test_kill(action: str) -> None:
    result, status = under(denying(action, "getppid"), lambda: syscall(GETPPID))
    assert result is None
    assert os.WTERMSIG(status) == signal.SIGSYS


def test_trap() -> None:
    def trapped() -> list[int]:
        caught: list[int] = []
        signal.signal(signal.SIGSYS, lambda number, frame: caught.append(number))
        syscall(GETPPID)
        return caught

    assert under(denying("SCMP_ACT_TRAP", "getppid"), trapped) == ([signal.SIGSYS], 0)


def test_trace_without_a_tracer() -> None:
    profile = denying("SCMP_ACT_TRACE", "getppid", errnoRet=7)
    assert under(profile, lambda: syscall(GETPPID)) == (-errno.ENOSYS, 0)


def test_log_lets_the_call_through() -> None:
    profile = {**denying("SCMP_ACT_LOG", "getppid"), "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    assert under(profile, lambda: syscall(GETPPID)) == (os.getpid(), 0)


def test_condition_on_an_argument() -> None:
    args = [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0xF0, "valueTwo": 0x20}]
    profile = denying("SCMP_ACT_ERRNO", "umask", args=args)
    umask = numbers(X86_64)["umask"]
    (denied, allowed), status = under(profile, lambda: [syscall(umask, 0x27), syscall(umask, 0x37)])
    assert status == 0
    assert denied == -errno.EPERM
    assert allowed >= 0


def test_calls_newer_than_the_profile() -> None:
    everything = [name for name in numbers(X86_64) if name != "getppid"]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": everything, "action": "SCMP_ACT_ALLOW"}],
    }
    calls = under(profile, lambda: [syscall(GETPPID), syscall(max(numbers(X86_64).values()) + 100)])
    assert calls == ([-errno.EPERM, -errno.ENOSYS], 0)


def test_engine_profile_lets_programs_run() -> None:
    def run() -> int:
        return os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "ls / | wc -l >/dev/null"])

    assert under(engine_profile(), run) == (0, 0)
    unshare, clone = numbers(X86_64)["unshare"], numbers(X86_64)["clone"]
    new_user = 0x10000000
    denied = under(engine_profile(), lambda: [syscall(unshare, 0), syscall(clone, new_user)])
    assert denied == ([-errno.EPERM, -errno.EPERM], 0)


def test_flags_that_the_kernel_has_can_be_installed() -> None:
    flags = supported()["supportedFlags"]
    assert isinstance(flags, list)
    assert "SECCOMP_FILTER_FLAG_TSYNC" in flags
    profile = {**denying("SCMP_ACT_ERRNO", "getppid"), "flags": flags}
    assert under(profile, lambda: syscall(GETPPID)) == (-errno.EPERM, 0)


def _call_as_x86(number: int) -> int:
    """Make a system call without arguments as a 32-bit program does: `mov eax, number; int 0x80;
    ret`.
    """
    code = b"\xb8" + number.to_bytes(4, "little") + b"\xcd\x80\xc3"
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def test_calls_of_another_architecture() -> None:
    getppid = numbers(X86)["getppid"]
    profile = denying("SCMP_ACT_ERRNO", "getppid")
    plain, _ = under(
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [X86]}, lambda: _call_as_x86(getppid)
    )
    if plain == -errno.ENOSYS or plain is None:
        pytest.skip("no 32-bit system calls on this kernel (CONFIG_IA32_EMULATION)")
    assert plain == os.getpid()
    both = {**profile, "architectures": [X86]}
    assert under(both, lambda: _call_as_x86(getppid)) == (-errno.EPERM, 0)
    result, status = under(profile, lambda: _call_as_x86(getppid))
    assert result is None
    assert os.WTERMSIG(status) == signal.SIGSYS


# --- notifications
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags", [None, ["TSYNC"], ["WAIT_KILLABLE_RECV"], ["TSYNC", "LOG", "SPEC_ALLOW"]]
)
def test_notify(tmp_path: Path, flags: list[str] | None) -> None:
    """An agent gives the call a value, an error, or lets the kernel do it."""
    path = tmp_path / "agent.sock"
    profile = {
        **denying("SCMP_ACT_NOTIFY", "getppid", "getcwd", "getuid"),
        "listenerPath": str(path),
    }
    if flags is not None:
        profile["flags"] = [f"SECCOMP_FILTER_FLAG_{name}" for name in flags]
    table = numbers(X86_64)

    def answer(notification: Notification) -> Answer:
        return {
            table["getppid"]: Answer(value=4711),
            table["getcwd"]: Answer(error=errno.EDOM),
            table["getuid"]: Answer(proceed=True),
        }[notification.number]

    def action() -> list[int]:
        return [syscall(table[name], 0, 0) for name in ("getppid", "getcwd", "getuid")]

    def send(listener: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(path))
            state = {"ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": os.getpid()}
            socket.send_fds(peer, [json.dumps(state).encode()], [listener])

    agent = SeccompAgent(path, answer)
    pid, reader = start(profile, action, send)
    with agent.serve():
        (connection,) = agent.wait_for_connections(1)
        assert connection.state["pid"] == pid
        results, status = finish(pid, reader)
    assert status == 0
    assert results == [4711, -errno.EDOM, os.getuid()]
    assert [n.number for n in agent.notifications] == [
        table[name] for name in ("getppid", "getcwd", "getuid")
    ]
    assert {n.pid for n in agent.notifications} == {pid}
