"""libseccomp, typed and in terms of Python values.

Importing this module loads the library, so only what builds a filter or asks for the features does.
"""

from __future__ import annotations

import os
from errno import EEXIST

from pyrunc.host._seccomp import ffi, lib

# The newest API level first. It is set by hand, because libseccomp would otherwise ask the running
# kernel what it can do and refuse actions for it; the filter is a value here, and the kernel
# judges it when it is installed.
for _level in (7, 6, 5):
    if lib.seccomp_api_set(_level) == 0:
        break

OPTIMIZE_BINARY_TREE = 2


def version() -> str:
    """Version of the loaded library, "major.minor.micro"."""
    v = lib.seccomp_version()
    return f"{v.major}.{v.minor}.{v.micro}"


def library_path() -> str:
    """The file from which the library was loaded, "" where the dynamic linker does not tell."""
    path = lib.pyrunc_library_path()
    return os.fsdecode(ffi.string(path)) if path else ""


def flags_available(flags: int) -> bool:
    """Whether the running kernel takes `flags` (SECCOMP_FILTER_FLAG_*, all at once)."""
    return bool(lib.pyrunc_filter_flags_available(flags))


def native_arch() -> int:
    """SCMP_ARCH_* of this machine."""
    return lib.seccomp_arch_native()


def resolve_arch(name: bytes) -> int | None:
    """SCMP_ARCH_* of a libseccomp architecture name such as b"x86_64"; None where it is unknown."""
    return lib.seccomp_arch_resolve_name(name) or None


def resolve_syscall(name: str) -> int | None:
    """Number of a system call on this machine, None where the name is unknown.

    A negative number is libseccomp's stand-in for a call that has no number of its own here, such
    as one of other architectures; it is valid for Filter.add_rules().
    """
    return _known(lib.seccomp_syscall_resolve_name(os.fsencode(name)))


def resolve_syscall_on(arch: int, name: str) -> int | None:
    """The same on `arch` (SCMP_ARCH_*)."""
    return _known(lib.seccomp_syscall_resolve_name_arch(arch, os.fsencode(name)))


def resolve_multiplexer(arch: int, name: str) -> int | None:
    """Number of the call through which `name` is made on `arch`: of socketcall(2) or ipc(2) where
    that has `name` as one of its operations, otherwise of `name` itself."""
    return _known(lib.seccomp_syscall_resolve_name_rewrite(arch, os.fsencode(name)))


def syscall_name(arch: int, number: int) -> str | None:
    """Name of the system call `number` on `arch`, None where libseccomp knows none."""
    name = lib.seccomp_syscall_resolve_num_arch(arch, number)
    if not name:
        return None
    try:
        return ffi.string(name).decode()
    finally:
        lib.free(name)


def _known(number: int) -> int | None:
    return None if number == lib.PYRUNC_NR_ERROR else number


class RuleError(OSError):
    """A rule was refused. `index` is that of its system call."""

    def __init__(self, number: int, index: int) -> None:
        super().__init__(number, os.strerror(number))
        self.index = index


class Filter:
    """A filter under construction; a context manager, which gives the library's memory back.

    Methods raise OSError with what libseccomp returned.
    """

    def __init__(self, default_action: int) -> None:
        self._context = lib.seccomp_init(default_action)
        if not self._context:
            raise OSError(22, f"seccomp_init({default_action:#x}) failed")

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *exc: object) -> None:
        lib.seccomp_release(self._context)
        self._context = ffi.NULL

    def add_arch(self, arch: int) -> None:
        """Make the filter speak for `arch` too; one that is there already is no error."""
        result = lib.seccomp_arch_add(self._context, arch)
        if result not in (0, -EEXIST):
            _raise(result)

    def optimize(self, level: int) -> None:
        """Set SCMP_FLTATR_CTL_OPTIMIZE."""
        _check(lib.seccomp_attr_set(self._context, lib.SCMP_FLTATR_CTL_OPTIMIZE, level))

    def add_rules(
        self, action: int, syscalls: list[int], conditions: list[tuple[int, int, int, int]]
    ) -> None:
        """Add a rule for each of `syscalls`: `action` where all of `conditions` hold.

        A condition is argument, operator (SCMP_CMP_*), datum a, datum b; see seccomp_rule_add(3).

        Raises:
            RuleError: one was refused; those before it are in the filter.
        """
        array = ffi.new("struct scmp_arg_cmp[]", conditions) if conditions else ffi.NULL
        done = ffi.new("size_t *")
        result = lib.pyrunc_rules_add(
            self._context, action, syscalls, len(syscalls), len(conditions), array, done
        )
        if result < 0:
            raise RuleError(-result, done[0])

    def export(self) -> bytes:
        """The filter as an array of struct sock_filter."""
        fd = os.memfd_create("seccomp-filter", os.MFD_CLOEXEC)
        try:
            _check(lib.seccomp_export_bpf(self._context, fd))
            size = os.lseek(fd, 0, os.SEEK_END)
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)


def _check(result: int) -> None:
    if result < 0:
        _raise(result)


def _raise(result: int) -> None:
    raise OSError(-result, os.strerror(-result))
