"""The instructions before a filter that answer ENOSYS to system calls newer than the profile.

A profile that denies by default knows the calls of its time. glibc tries a newer call first and
falls back to the older one only on ENOSYS, so that an EPERM of the profile breaks programs whose
libc is newer than the profile. runc therefore puts instructions before each such filter, and its
users rely on it; these do the same:

* only where the default action denies (not ALLOW, LOG or TRACE) and would not give ENOSYS by
  itself;
* for each architecture of the filter, the native one included, a number greater than that of every
  call which the profile names (with whatever action) gives ENOSYS. Numbers are given to calls in
  the order in which they are added to the kernel, so greater means newer;
* x32 calls are x86_64 calls with bit 30 set, and are compared with the greatest x32 number;
* on s390 and s390x, number 0 gives ENOSYS: it is what the kernel leaves for a call that it does
  not know there.

Everything else, foreign architectures included, goes on to the filter.
"""

from __future__ import annotations

from _struct import pack

from pyrunc.host import libseccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/filter.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05  # BPF_JMP | BPF_JA
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_IF_BITS = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# linux/seccomp.h: offsets in struct seccomp_data.
_NUMBER, _ARCH = 0, 4

_RET_ENOSYS = 0x00050000 | 38
_X32_BIT = 1 << 30

# From a multiplexer, which is old, to beyond the newest call of its table.
_TABLE_SIZE = 512

_Instruction = tuple[int, int, int, int]


def greatest_numbers(names: set[str], archs: Iterable[int]) -> dict[int, int]:
    """For each of `archs` (SCMP_ARCH_*) the greatest number that one of the calls `names` has.

    Architectures on which none of them exists are left out.
    """
    numbers = {}
    for arch in archs:
        greatest = _greatest_number(names, arch)
        if greatest > 0:
            numbers[arch] = greatest
    return numbers


def _greatest_number(names: set[str], arch: int) -> int:
    greatest = multiplexer = 0
    for name in names:
        number = libseccomp.resolve_syscall_on(arch, name) or 0
        if number < 0:
            number = libseccomp.resolve_multiplexer(arch, name) or 0
            multiplexer = max(multiplexer, number)
        greatest = max(greatest, number)
    if multiplexer > 0:
        # Operations of socketcall(2) and ipc(2) were given numbers of their own later, which
        # libseccomp puts into the filter too, but tells only when asked for the name of a number.
        for number in range(greatest + 1, multiplexer + _TABLE_SIZE):
            if libseccomp.syscall_name(arch, number) in names:
                greatest = number
    return greatest


def enosys_stub(greatest: dict[int, int]) -> bytes:
    """The instructions (array of struct sock_filter) for what `greatest_numbers` found."""
    x86_64 = libseccomp.resolve_arch(b"x86_64")
    x32 = libseccomp.resolve_arch(b"x32")
    multiplexed = {libseccomp.resolve_arch(b"s390"), libseccomp.resolve_arch(b"s390x")}

    sections: list[tuple[int, list[_Instruction]]] = []
    for arch, number in greatest.items():
        if arch in (x86_64, x32):
            continue
        section = _newer_than(number)
        if arch in multiplexed:
            section = [(_IF_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _RET_ENOSYS), *section]
        sections.append((arch, section))
    if x86_64 is not None and (x86_64 in greatest or x32 in greatest):
        plain = _newer_than(greatest[x86_64]) if x86_64 in greatest else [(_JUMP, 0, 0, 0)]
        wide = _newer_than(greatest[x32]) if x32 is not None and x32 in greatest else []
        # The last instruction of a section is its way into the filter, so x32 starts after that of
        # x86_64.
        test = (_IF_BITS, len(plain) if wide else len(plain) - 1, 0, _X32_BIT)
        sections.append((x86_64, [test, *plain, *wide]))

    return _assemble(sections) if sections else b""


def _newer_than(number: int) -> list[_Instruction]:
    """ENOSYS above `number`, otherwise on to the jump into the filter, to be filled in."""
    return [(_IF_GREATER, 0, 1, number), (_RETURN, 0, 0, _RET_ENOSYS), (_JUMP, 0, 0, 0)]


def _assemble(sections: list[tuple[int, list[_Instruction]]]) -> bytes:
    """Lay the sections out behind a dispatch on the architecture, and fill in their jumps."""
    code: list[_Instruction] = [(_LOAD, 0, 0, _ARCH)]
    offset = len(sections) + 1  # of the next section, from the first test of the dispatch
    for index, (arch, section) in enumerate(sections):
        code.append((_IF_EQUAL, offset - index - 1, 0, arch))
        offset += len(section) + 1
    code.append((_JUMP, 0, 0, 0))
    for _, section in sections:
        code.append((_LOAD, 0, 0, _NUMBER))
        code.extend(section)
    end = len(code)
    return b"".join(
        pack("=HBBI", op, jt, jf, end - at - 1 if op == _JUMP else k)
        for at, (op, jt, jf, k) in enumerate(code)
    )
