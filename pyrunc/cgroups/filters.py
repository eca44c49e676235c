"""Attach the device program of a container to its v2 cgroup."""

from __future__ import annotations

import os

from pyrunc.cgroups.bpf import device_program
from pyrunc.cgroups.files import failure
from pyrunc.host import shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroups.devices import DeviceRule

_LOG_SIZE = 65536
_MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS


class DeviceProgram:
    """A loaded program. A context manager; what it is attached to keeps it.

    Args:
        rules: what it has to do.
        pointer: JSON pointer of them.

    Raises CgroupError, with what the verifier said.
    """

    def __init__(self, rules: list[DeviceRule], pointer: str) -> None:
        self._pointer = pointer
        instructions = device_program(rules)
        log = shim.ffi.new("char[]", _LOG_SIZE)
        self._fd = shim.lib.pyrunc_bpf_load(instructions, len(instructions) // 8, log, _LOG_SIZE)
        if self._fd < 0:
            error = OSError(shim.ffi.errno, os.strerror(shim.ffi.errno))
            hint = shim.ffi.string(log, _LOG_SIZE).decode(errors="replace").strip()
            if error.errno == 1 and not hint:  # EPERM
                hint = "that takes CAP_BPF and CAP_NET_ADMIN in the initial user namespace"
            raise failure("load a device program", error, pointer, hint)

    def __enter__(self) -> DeviceProgram:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def attach(self, directory: str) -> None:
        """Let the program decide for a cgroup, in place of those that did so far.

        At no moment does none decide. Raises CgroupError.
        """
        cgroup = -1
        present: list[int] = []
        try:
            cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for identity in _query(cgroup):
                present.append(_checked(shim.lib.pyrunc_bpf_open(identity)))
            replaced = present[0] if len(present) == 1 else -1
            _checked(shim.lib.pyrunc_bpf_attach(cgroup, self._fd, replaced))
            if len(present) > 1:
                for program in present:
                    _checked(shim.lib.pyrunc_bpf_detach(cgroup, program))
        except OSError as error:
            action = f"attach a device program to {directory}"
            raise failure(action, error, self._pointer) from error
        finally:
            for fd in (cgroup, *present):
                if fd >= 0:
                    os.close(fd)


def attached(directory: str) -> int:
    """How many device programs decide for a cgroup by themselves. Raises OSError."""
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return len(_query(cgroup))
    finally:
        os.close(cgroup)


def _query(cgroup: int) -> list[int]:
    ids = shim.ffi.new("uint32_t[]", _MOST_PROGRAMS)
    count = _checked(shim.lib.pyrunc_bpf_query(cgroup, ids, _MOST_PROGRAMS))
    return [ids[position] for position in range(count)]


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(shim.ffi.errno, os.strerror(shim.ffi.errno))
    return result
