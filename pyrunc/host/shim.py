"""Typed wrappers of the C shim and of the few system calls that Python lacks."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import sys

import pyrunc
from pyrunc.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # for the modules that use the shim as a whole, too
    from pyrunc.host._shim import ffi as ffi  # noqa: PLC0414
    from pyrunc.host._shim import lib as lib  # noqa: PLC0414
else:

    class _OnDemand:
        """Stands for a part of the compiled module, which is loaded when something of it is used."""

        def __init__(self, part: str) -> None:
            self.part = part

        def __getattr__(self, name: str) -> object:
            from pyrunc.host import _shim

            globals().update(ffi=_shim.ffi, lib=_shim.lib)
            return getattr(globals()[self.part], name)

    ffi, lib = _OnDemand("ffi"), _OnDemand("lib")

F_ADD_SEALS = 1033
F_SEAL_ALL = 0x0001 | 0x0002 | 0x0004 | 0x0008  # SEAL, SHRINK, GROW, WRITE
MFD_CLOEXEC = 0x0001
MFD_ALLOW_SEALING = 0x0002
MFD_NOEXEC_SEAL = 0x0008
MFD_EXEC = 0x0010
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNET = 0x40000000
_PATH_MAX = 4096

_init_fd = -1
_init_lock = _thread.allocate_lock()


def init_path() -> str:
    """Where pyrunc-init is installed."""
    return os.path.join(pyrunc.__path__[0], "libexec", "pyrunc-init")


def _memfd(name: str, flags: int) -> int:
    try:
        return os.memfd_create(name, flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # before Linux 6.3 there was no flag, and all could be executed
        return os.memfd_create(name, flags & ~(MFD_EXEC | MFD_NOEXEC_SEAL))


def init_executable() -> int:
    """A descriptor of a sealed copy of pyrunc-init, made once per process.

    What a process in the container can reach by its /proc/PID/exe is this copy, and it can be
    neither written nor changed (CVE-2019-5736).

    Raises:
        HostError: pyrunc-init is missing, or the host forbids executable memfds.
    """
    global _init_fd  # noqa: PLW0603
    with _init_lock:
        if _init_fd < 0:
            _init_fd = _sealed_copy()
        return _init_fd


def _sealed_copy() -> int:
    try:
        source = os.open(init_path(), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{init_path()}: {error.strerror}: pyrunc is not installed") from None
    try:
        fd = _memfd("pyrunc-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC)
        while os.sendfile(fd, source, None, 1 << 24):
            pass
        os.fchmod(fd, 0o555)
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_ALL)
    except OSError as error:
        raise HostError(
            f"memfd for pyrunc-init: {error.strerror}", errno=error.errno or 0
        ) from None
    finally:
        os.close(source)
    return fd


def write_all(fd: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def data_fd(name: str, data: bytes) -> int:
    """A descriptor from which `data` can be read."""
    fd = _memfd(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL)
    write_all(fd, data)
    return fd


def spawn(
    flags: int,
    unshare: int,
    control: int,
    *,
    kept: Sequence[int] = (0, 1, 2),
    cgroup: int = -1,
) -> tuple[int, int]:
    """Start pyrunc-init. Returns its pid and a pidfd of it.

    Args:
        flags: CLONE_NEW* for clone3(2).
        unshare: CLONE_NEW* that it makes itself, while the caller goes on.
        control: its end of the conversation.
        kept: what becomes the program's stdin, stdout, stderr, and descriptors from 3 on.
        cgroup: descriptor of the cgroup v2 directory to start in, or -1.

    Raises:
        OSError: clone3(2) or execveat(2) failed.
    """
    request = ffi.new("struct pyrunc_spawn *")
    request.executable = init_executable()
    request.flags = flags
    request.unshare = unshare
    request.cgroup = cgroup
    kept_numbers = ffi.new("int[]", list(kept))
    request.kept = kept_numbers
    request.kept_count = len(kept)
    request.control = control
    pid = lib.pyrunc_spawn(request)
    if pid < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return pid, request.pidfd


def is_loaded() -> bool:
    """Whether the compiled module is there already. Loading it takes longer than a few system calls do."""
    return "pyrunc.host._shim" in sys.modules


def carry_out(kind: str, steps: Sequence[str]) -> tuple[int, int]:
    """Carry out small steps in one call, where each would be a turn at the interpreter's lock, until one fails.

    Args:
        kind: "d" to make directories (mode 0755), "r" to remove them, "s" to see that something is there, "w" to
            write files, each in one write(2).
        steps: paths; with "w" each is followed by what is written.

    Returns how many steps were carried out, and the error number of the one that failed, or 0.
    """
    count = len(steps) // 2 if kind == "w" else len(steps)
    text = "\0".join(steps).encode("utf-8", "surrogateescape")
    if text.count(b"\0") >= len(steps) > 0:
        raise ValueError("a path or what is written contains a NUL character")
    done: int = lib.pyrunc_steps(kind.encode(), text, count)
    return done, 0 if done == count else ffi.errno


def _path(path: str) -> bytes:
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError("a path contains a NUL character")
    return data


def _failed(path: str) -> OSError:
    error: int = ffi.errno
    return OSError(error, os.strerror(error), path)


def read_file(path: str, size: int) -> bytes:
    """What is in a file, at most `size` bytes. Raises OSError."""
    buffer = ffi.new("char[]", size)
    count = lib.pyrunc_read(_path(path), buffer, size)
    if count < 0:
        raise _failed(path)
    data: bytes = ffi.unpack(buffer, count)
    return data


def replace_file(path: str, beside: str, data: bytes) -> None:
    """Write a file of mode 0600 `beside` its place, and rename it there. Raises OSError."""
    if lib.pyrunc_replace(_path(path), _path(beside), data, len(data)) < 0:
        raise _failed(path)


def lock_directory(path: str) -> int:
    """A descriptor of a directory, locked (flock(2)); -1 where that is not possible at once."""
    fd: int = lib.pyrunc_lock(_path(path))
    return fd


def clear_directory(path: str) -> bool:
    """Remove a directory in which there are only files. False where something is left."""
    return bool(lib.pyrunc_clear(_path(path)) == 0)


def mount_id(path: str) -> int:
    """The id of the mount that `path` leads to (statx(2)); -1 where it leads nowhere."""
    found: int = lib.pyrunc_mount_id(_path(path))
    return found


def real_path(path: str) -> str:
    """The path without symbolic links (realpath(3)); "" where it leads nowhere."""
    resolved = ffi.new("char[]", _PATH_MAX)
    if not lib.realpath(_path(path), resolved):
        return ""
    return os.fsdecode(ffi.string(resolved))


class HookError(OSError):
    """A hook could not be started; `call` is the system call that failed."""

    def __init__(self, error: int, call: str) -> None:
        super().__init__(error, os.strerror(error))
        self.call = call


def start_hook(
    path: str,
    args: Sequence[str],
    env: Sequence[str],
    state: bytes,
    outputs: tuple[int, int] = (-1, -1),
) -> tuple[int, int, int]:
    """Start a program, with `state` on its stdin, in a process group of its own.

    Its stdout and stderr become the descriptors of `outputs`. Returns its pid, a pidfd, and a descriptor that does
    not block with what it writes to those of the two that are -1.

    Raises:
        HookError: it could not be started.
    """

    def strings(values: Sequence[str]) -> tuple[object, list[object]]:
        keep = [ffi.new("char[]", os.fsencode(value)) for value in values]
        return ffi.new("char *[]", [*keep, ffi.NULL]), keep

    argv, keep_args = strings(args)
    envp, keep_env = strings(env)
    hook = ffi.new("struct hook_process *")
    result = ffi.new("struct hook_result *")
    code = lib.start_hook(os.fsencode(path), argv, envp, state, len(state), outputs, hook, result)
    del keep_args, keep_env
    if code < 0:
        raise HookError(result.error, ffi.string(result.call).decode())
    return hook.pid, hook.pidfd, hook.output


def set_subreaper() -> None:
    """Make this process the reaper of its orphaned descendants (prctl(2))."""
    if lib.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))


def unmount(path: str) -> int:
    """Detach the mount at `path` with all below it (umount2(2), MNT_DETACH). Returns 0 or the error number."""
    if lib.umount2(os.fsencode(path), 2 | 8) == 0:  # UMOUNT_NOFOLLOW
        return 0
    code: int = ffi.errno
    return code


def join_network(namespace: int) -> None:
    """Move this thread into the network namespace of a descriptor (setns(2)). Raises OSError."""
    if lib.setns(namespace, CLONE_NEWNET) < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
