"""From the `linux.seccomp` object to a BPF program, by libseccomp (config-linux.md, Seccomp).

Imported only where the cache has no program for the profile.

What the spec leaves open is done as runc does it, since profiles are written against it:

* the filter speaks for the native architecture and the listed ones; a call made in another one
  kills the thread;
* system calls whose name libseccomp does not know are skipped;
* a rule with the default action is redundant and skipped;
* the conditions of one rule must all hold, except where two of them are about the same argument:
  then each condition is a rule of its own, and one that holds is enough;
* NOTIFY can be neither the default action nor that of write(2), which the runtime itself needs
  between the installation of the filter and the execution of the program;
* a profile that denies by default answers ENOSYS to calls newer than itself (see `seccomp_stub`).
"""

from __future__ import annotations

from errno import EDOM, EEXIST, ENOSYS, EPERM

from pyrunc.errors import ConfigError, HostError, Violation
from pyrunc.host import libseccomp
from pyrunc.plan.seccomp_stub import enosys_stub, greatest_numbers
from pyrunc.plan.seccomp_tables import (
    ACTIONS,
    ARCHITECTURES,
    FLAGS,
    NUMBERED_ACTIONS,
    OPERATORS,
    kernel_flags,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECCOMP = "/linux/seccomp"
_ARGUMENTS = 6  # of a system call
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h
_INSTRUCTION_SIZE = 8  # struct sock_filter
# libseccomp <= 2.5.4 misbehaves when it makes a tree of no rules at all, and a tree has four calls
# a leaf, so that few rules gain nothing. runc draws the line here too.
_TREE_THRESHOLD = 32
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


def violations(seccomp: dict[str, Any]) -> list[Violation]:
    """All that is wrong with a profile of the right shape (the schema is the loader's business)."""
    found: list[Violation] = []

    def wrong(pointer: str, message: str) -> None:
        found.append(Violation(_SECCOMP + pointer, message))

    default = seccomp.get("defaultAction")
    _check_action(wrong, seccomp, "defaultAction", "defaultErrnoRet", "")
    if default == "SCMP_ACT_NOTIFY":
        wrong("/defaultAction", "SCMP_ACT_NOTIFY cannot be the default action")
    for index, arch in enumerate(seccomp.get("architectures") or ()):
        if arch not in ARCHITECTURES:
            wrong(f"/architectures/{index}", f"unknown architecture {arch!r}")
    for index, flag in enumerate(seccomp.get("flags") or ()):
        if flag not in FLAGS:
            wrong(f"/flags/{index}", f"unknown seccomp flag {flag!r}")
    for index, rule in enumerate(seccomp.get("syscalls") or ()):
        _check_rule(wrong, rule, f"/syscalls/{index}")
    if not seccomp.get("listenerPath"):
        if seccomp.get("listenerMetadata"):
            wrong("/listenerMetadata", "listenerMetadata needs a listenerPath")
        if notifies(seccomp):
            wrong("/listenerPath", "SCMP_ACT_NOTIFY is used, but there is no listenerPath")
    return found


def notifies(seccomp: dict[str, Any]) -> bool:
    """Whether a rule of the profile has the action NOTIFY."""
    return any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in seccomp.get("syscalls") or ())


def build(seccomp: dict[str, Any]) -> tuple[bytes, int, tuple[str, ...]]:
    """Compile a profile.

    Returns:
        The program (array of struct sock_filter), the flags for seccomp(2), and the names of
        system calls that were skipped because libseccomp does not know them.

    Raises:
        ConfigError: the profile is wrong, or contradicts itself.
        HostError: this libseccomp lacks something that the profile names, or the program is too
            long.
    """
    found = violations(seccomp)
    if found:
        raise ConfigError("config.json", found)

    flags = _flags(seccomp)
    default = _action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    archs = _architectures(seccomp)
    rules = seccomp.get("syscalls") or []
    skipped: list[str] = []
    with libseccomp.Filter(default) as scmp:
        for index, arch in enumerate(archs):
            _add_arch(scmp, arch, index)
        if sum(len(rule["names"]) for rule in rules) > _TREE_THRESHOLD:
            scmp.optimize(libseccomp.OPTIMIZE_BINARY_TREE)
        for index, rule in enumerate(rules):
            action = _action(rule["action"], rule.get("errnoRet"))
            if action != default:
                _add_rule(scmp, action, rule, f"{_SECCOMP}/syscalls/{index}", skipped)
        program = scmp.export()

    if (
        seccomp["defaultAction"] not in _PERMISSIVE
        and default != ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS
    ):
        names = {name for rule in rules for name in rule["names"]}
        # dict.fromkeys: the native architecture is usually listed too.
        spoken = dict.fromkeys([libseccomp.native_arch(), *archs])
        program = enosys_stub(greatest_numbers(names, spoken)) + program
    if len(program) > _MAX_INSTRUCTIONS * _INSTRUCTION_SIZE:
        raise HostError.asked_by(
            _SECCOMP,
            f"the seccomp filter has {len(program) // _INSTRUCTION_SIZE} instructions,"
            f" the kernel takes {_MAX_INSTRUCTIONS}",
        )
    return program, flags, tuple(skipped)


def _check_rule(wrong: Any, rule: dict[str, Any], pointer: str) -> None:
    _check_action(wrong, rule, "action", "errnoRet", pointer)
    names = rule.get("names")
    if not names:
        wrong(f"{pointer}/names", "at least one system call must be named")
    for index, name in enumerate(names or ()):
        if not name or "\0" in name:
            wrong(f"{pointer}/names/{index}", f"not a system call name: {name!r}")
        elif name == "write" and rule.get("action") == "SCMP_ACT_NOTIFY":
            wrong(
                f"{pointer}/names/{index}",
                "SCMP_ACT_NOTIFY cannot be used for write, which the runtime itself needs",
            )
    for index, condition in enumerate(rule.get("args") or ()):
        at = f"{pointer}/args/{index}"
        if condition.get("op") not in OPERATORS:
            wrong(f"{at}/op", f"unknown operator {condition.get('op')!r}")
        argument = condition.get("index")
        if not isinstance(argument, int) or not 0 <= argument < _ARGUMENTS:
            wrong(f"{at}/index", f"a system call has arguments 0 to 5, not {argument!r}")


def _check_action(
    wrong: Any, holder: dict[str, Any], key: str, number_key: str, pointer: str
) -> None:
    action = holder.get(key)
    if action not in ACTIONS:
        wrong(f"{pointer}/{key}", f"unknown action {action!r}")
        return
    number = holder.get(number_key)
    if number is None:
        return
    greatest = NUMBERED_ACTIONS.get(action)
    if greatest is None:
        wrong(f"{pointer}/{number_key}", f"{action} does not take an error number")
    elif not 0 <= number <= greatest:
        wrong(
            f"{pointer}/{number_key}", f"{action} takes a number of 0 to {greatest}, not {number}"
        )


def _action(name: str, number: int | None) -> int:
    if name in NUMBERED_ACTIONS:
        return ACTIONS[name] | (EPERM if number is None else number)
    return ACTIONS[name]


def _flags(seccomp: dict[str, Any]) -> int:
    names = seccomp.get("flags")
    if names is None:
        # No word about flags is not the same as none: runc and crun then leave the mitigation of
        # speculative store bypass off, which the kernel would otherwise turn on for each process
        # with a filter.
        return kernel_flags(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], notifies(seccomp))
    flags = kernel_flags(names, notifies(seccomp))
    if not libseccomp.flags_available(flags):
        for index, name in enumerate(names):
            if not libseccomp.flags_available(kernel_flags([name], listener=True)):
                raise HostError.asked_by(
                    f"{_SECCOMP}/flags/{index}", f"this kernel does not know {name}"
                )
    return flags


def _architectures(seccomp: dict[str, Any]) -> list[int]:
    archs = []
    for index, name in enumerate(seccomp.get("architectures") or ()):
        arch = libseccomp.resolve_arch(ARCHITECTURES[name])
        if arch is None:
            raise HostError.asked_by(
                f"{_SECCOMP}/architectures/{index}",
                f"libseccomp {libseccomp.version()} does not know {name}",
            )
        archs.append(arch)
    return archs


def _add_arch(scmp: libseccomp.Filter, arch: int, index: int) -> None:
    try:
        scmp.add_arch(arch)
    except OSError as error:
        reason = "its byte order is not this machine's" if error.errno == EDOM else error.strerror
        raise ConfigError(
            "config.json",
            [Violation(f"{_SECCOMP}/architectures/{index}", f"cannot be in the filter: {reason}")],
        ) from None


def _add_rule(
    scmp: libseccomp.Filter, action: int, rule: dict[str, Any], pointer: str, skipped: list[str]
) -> None:
    conditions = [
        (c["index"], OPERATORS[c["op"]], c["value"], c.get("valueTwo") or 0)
        for c in rule.get("args") or ()
    ]
    if len({c[0] for c in conditions}) == len(conditions):
        alternatives = [conditions]
    else:
        alternatives = [[c] for c in conditions]
    known = []
    for index, name in enumerate(rule["names"]):
        number = libseccomp.resolve_syscall(name)
        if number is None:
            skipped.append(name)
        else:
            known.append((number, index))
    for alternative in alternatives:
        try:
            scmp.add_rules(action, [number for number, _ in known], alternative)
        except libseccomp.RuleError as error:
            if error.errno == EEXIST:
                reason = "an earlier rule has another action for the same call and arguments"
            else:
                reason = f"libseccomp refuses the rule: {error.strerror}"
            index = known[error.index][1]
            raise ConfigError(
                "config.json",
                [Violation(f"{pointer}/names/{index}", f"{rule['names'][index]}: {reason}")],
            ) from None
