"""System call numbers from the kernel's headers, and what a seccomp profile means by the spec.

The model is written from config-linux.md and runc's documented behaviour, and knows nothing of
libseccomp: its numbers come from the headers of linux-libc-dev.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

X86_64, X86, X32 = "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"
X32_BIT = 1 << 30
# linux/audit.h; x32 calls are made as x86_64.
AUDIT = {X86_64: 0xC000003E, X86: 0x40000003, X32: 0xC000003E}
_HEADERS = {X86_64: "unistd_64.h", X86: "unistd_32.h", X32: "unistd_x32.h"}

KILL = 0x00000000
ENOSYS = 0x00050000 | errno.ENOSYS
_RETURNS = {
    "SCMP_ACT_KILL": KILL,
    "SCMP_ACT_KILL_THREAD": KILL,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_U64, _U32 = (1 << 64) - 1, (1 << 32) - 1


@cache
def numbers(arch: str) -> Mapping[str, int]:
    """System calls of an x86 architecture by name, as the kernel's headers give them."""
    found = {}
    for directory in ("/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"):
        header = Path(directory, _HEADERS[arch])
        if not header.exists():
            continue
        for line in header.read_text().splitlines():
            match line.split(maxsplit=2):
                case ["#define", name, value] if name.startswith("__NR_"):
                    plain = value.strip("()").removeprefix("__X32_SYSCALL_BIT + ")
                    number = int(plain)
                    found[name.removeprefix("__NR_")] = number | (X32_BIT if arch == X32 else 0)
        return found
    raise FileNotFoundError(f"no {_HEADERS[arch]}: install linux-libc-dev")


class Call(NamedTuple):
    """A system call as the kernel shows it to a filter."""

    arch: str
    number: int
    args: tuple[int, ...] = ()


def expected(profile: dict[str, Any], call: Call) -> int:
    """What the filter of `profile` has to return (SECCOMP_RET_*) for `call`.

    Where rules of different actions match, the spec is silent and so is the model: it takes
    profiles in which the conditional rules for one call have one action.
    """
    spoken = dict.fromkeys([X86_64, *profile.get("architectures", ())])
    if call.arch not in spoken:
        return KILL
    default = _return_value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    rules = profile.get("syscalls", ())
    if profile["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
        newest = max(_known(rules, call.arch), default=0)
        if default != ENOSYS and 0 < newest < call.number & _U32:
            return ENOSYS
    matching = [
        rule
        for rule in rules
        if any(numbers(call.arch).get(name) == call.number for name in rule["names"])
        and _return_value(rule["action"], rule.get("errnoRet")) != default
    ]
    for rule in matching:  # an unconditional rule makes those with conditions moot
        if not rule.get("args"):
            return _return_value(rule["action"], rule.get("errnoRet"))
    for rule in matching:
        if _holds(rule["args"], call):
            return _return_value(rule["action"], rule.get("errnoRet"))
    return default


def _known(rules: Iterable[dict[str, Any]], arch: str) -> list[int]:
    table = numbers(arch)
    return [table[name] for rule in rules for name in rule["names"] if name in table]


def _return_value(action: str, number: int | None) -> int:
    if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return _RETURNS[action] | (errno.EPERM if number is None else number)
    return _RETURNS[action]


def _holds(conditions: Sequence[dict[str, Any]], call: Call) -> bool:
    results = [_condition_holds(condition, call) for condition in conditions]
    arguments = [condition["index"] for condition in conditions]
    return all(results) if len(set(arguments)) == len(arguments) else any(results)


def _condition_holds(condition: dict[str, Any], call: Call) -> bool:
    width = _U64 if call.arch == X86_64 else _U32
    value: int = condition["value"] & width
    second: int = condition.get("valueTwo", 0) & width
    arg = (call.args[condition["index"]] if condition["index"] < len(call.args) else 0) & width
    return {
        "SCMP_CMP_NE": arg != value,
        "SCMP_CMP_LT": arg < value,
        "SCMP_CMP_LE": arg <= value,
        "SCMP_CMP_EQ": arg == value,
        "SCMP_CMP_GE": arg >= value,
        "SCMP_CMP_GT": arg > value,
        "SCMP_CMP_MASKED_EQ": arg & value == second & value,  # seccomp_rule_add(3)
    }[condition["op"]]


# Calls that profiles of container engines leave out, or allow for certain arguments only.
_DENIED = """
    acct add_key bpf clock_adjtime clock_settime create_module delete_module finit_module
    fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module ioperm iopl kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr move_mount
    move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root
    process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd reboot
    request_key set_mempolicy setns settimeofday stime swapoff swapon _sysctl sysfs umount
    umount2 unshare uselib userfaultfd ustat vm86 vm86old
"""
_CONDITIONAL = ["clone", "personality", "clone3"]
_NAMESPACE_FLAGS = 0x7E020000


def engine_profile() -> dict[str, Any]:
    """A profile of the kind and size that container engines use by default: some 400 calls
    allowed, a few under conditions, EPERM for the rest."""
    names = sorted(
        (numbers(X86_64).keys() | numbers(X86).keys() | numbers(X32).keys())
        - set(_DENIED.split())
        - set(_CONDITIONAL)
    )
    personalities = [0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": [X86_64, X86, X32],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            *(
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
                }
                for value in personalities
            ),
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [
                    {
                        "index": 0,
                        "value": _NAMESPACE_FLAGS,
                        "valueTwo": 0,
                        "op": "SCMP_CMP_MASKED_EQ",
                    }
                ],
            },
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ],
    }
