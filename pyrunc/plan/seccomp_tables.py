"""The names of config-linux.md's seccomp object and what the kernel and libseccomp call them."""

from __future__ import annotations

# seccomp(2): SECCOMP_RET_*. Those of ERRNO and TRACE carry a number in the low 16 bits.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}

# The actions that take a number, and the greatest one: libseccomp wants an errno to be less than
# the kernel's MAX_ERRNO, and a tracer reads 16 bits (ptrace(2), PTRACE_GETEVENTMSG).
NUMBERED_ACTIONS = {"SCMP_ACT_ERRNO": 4094, "SCMP_ACT_TRACE": 0xFFFF}

# seccomp.h: enum scmp_compare.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# The names that seccomp_arch_resolve_name(3) takes.
ARCHITECTURES = {
    "SCMP_ARCH_X86": b"x86",
    "SCMP_ARCH_X86_64": b"x86_64",
    "SCMP_ARCH_X32": b"x32",
    "SCMP_ARCH_ARM": b"arm",
    "SCMP_ARCH_AARCH64": b"aarch64",
    "SCMP_ARCH_LOONGARCH64": b"loongarch64",
    "SCMP_ARCH_M68K": b"m68k",
    "SCMP_ARCH_MIPS": b"mips",
    "SCMP_ARCH_MIPS64": b"mips64",
    "SCMP_ARCH_MIPS64N32": b"mips64n32",
    "SCMP_ARCH_MIPSEL": b"mipsel",
    "SCMP_ARCH_MIPSEL64": b"mipsel64",
    "SCMP_ARCH_MIPSEL64N32": b"mipsel64n32",
    "SCMP_ARCH_PARISC": b"parisc",
    "SCMP_ARCH_PARISC64": b"parisc64",
    "SCMP_ARCH_PPC": b"ppc",
    "SCMP_ARCH_PPC64": b"ppc64",
    "SCMP_ARCH_PPC64LE": b"ppc64le",
    "SCMP_ARCH_RISCV64": b"riscv64",
    "SCMP_ARCH_S390": b"s390",
    "SCMP_ARCH_S390X": b"s390x",
    "SCMP_ARCH_SH": b"sh",
    "SCMP_ARCH_SHEB": b"sheb",
}

# seccomp(2): SECCOMP_FILTER_FLAG_*, those that a profile may name.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
FLAG_NEW_LISTENER = 1 << 3
FLAG_TSYNC_ESRCH = 1 << 4


def kernel_flags(names: list[str], listener: bool) -> int:
    """The flags for seccomp(2) of a profile that names `names`.

    Two combinations are refused by the kernel and are made to mean what they say: TSYNC beside a
    listener needs TSYNC_ESRCH, since both would use the return value, and WAIT_KILLABLE_RECV
    without a listener has no notification to wait for.
    """
    flags = 0
    for name in names:
        flags |= FLAGS[name]
    if not listener:
        return flags & ~FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    if flags & FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]:
        flags |= FLAG_TSYNC_ESRCH
    return flags | FLAG_NEW_LISTENER


def supported() -> dict[str, object]:
    """The `linux.seccomp` object of the features document (features-linux.md, Seccomp).

    `supportedFlags` are asked of the running kernel.
    """
    from pyrunc.host import libseccomp

    return {
        "enabled": True,
        "actions": sorted(ACTIONS),
        "operators": sorted(OPERATORS),
        "archs": sorted(ARCHITECTURES),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": [
            name
            for name in sorted(FLAGS)
            if libseccomp.flags_available(kernel_flags([name], listener=True))
        ],
    }
