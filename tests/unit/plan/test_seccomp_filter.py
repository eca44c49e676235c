"""What compiled filters decide, run by a BPF interpreter and held to a model of the profile."""

from __future__ import annotations

import errno
import platform
from pathlib import Path
from typing import Any

import pytest
from helpers import bpf
from helpers.seccomp_profiles import (
    AUDIT,
    ENOSYS,
    KILL,
    X32,
    X32_BIT,
    X86,
    X86_64,
    Call,
    engine_profile,
    expected,
    numbers,
)
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pyrunc.errors import ConfigError, HostError
from pyrunc.host import libseccomp
from pyrunc.plan.seccomp import PendingFilter, compile_filter
from pyrunc.plan.seccomp_tables import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the model knows the x86 system call tables"
)

ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM


def decide(profile: dict[str, Any], *calls: Call) -> list[int]:
    """What the compiled filter returns for `calls`."""
    code = bpf.decode(compile_filter(profile, cache_dir=None).program)
    return [bpf.run(code, AUDIT[call.arch], call.number, call.args) for call in calls]


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def condition(index: int, op: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


READ = numbers(X86_64)["read"]

# --- actions, defaults, error numbers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "number", "returned"),
    [
        ("SCMP_ACT_KILL", None, KILL),
        ("SCMP_ACT_KILL_THREAD", None, KILL),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x00030000),
        ("SCMP_ACT_ERRNO", None, 0x00050000 | errno.EPERM),
        ("SCMP_ACT_ERRNO", 0, 0x00050000),
        ("SCMP_ACT_ERRNO", 4094, 0x00050000 | 4094),
        ("SCMP_ACT_TRACE", None, 0x7FF00000 | errno.EPERM),
        ("SCMP_ACT_TRACE", 0xFFFF, 0x7FF0FFFF),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
        ("SCMP_ACT_NOTIFY", None, 0x7FC00000),
    ],
)
def test_action_of_a_rule(action: str, number: int | None, returned: int) -> None:
    more = {} if number is None else {"errnoRet": number}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/agent.sock",
        "syscalls": [rule("read", action=action, **more)],
    }
    assert decide(profile, Call(X86_64, READ), Call(X86_64, READ + 1)) == [returned, ALLOW]


@pytest.mark.parametrize(
    ("action", "number", "returned"),
    [
        ("SCMP_ACT_KILL", None, KILL),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x00030000),
        ("SCMP_ACT_ERRNO", None, 0x00050000 | errno.EPERM),
        ("SCMP_ACT_ERRNO", errno.EACCES, 0x00050000 | errno.EACCES),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
    ],
)
def test_default_action(action: str, number: int | None, returned: int) -> None:
    more = {} if number is None else {"defaultErrnoRet": number}
    profile = {"defaultAction": action, **more, "syscalls": [rule("exit_group")]}
    assert decide(profile, Call(X86_64, READ)) == [returned]
    assert decide(profile, Call(X86_64, numbers(X86_64)["exit_group"])) == [ALLOW]


def test_profile_without_rules() -> None:
    assert decide({"defaultAction": "SCMP_ACT_ALLOW"}, Call(X86_64, READ)) == [ALLOW]
    assert decide({"defaultAction": "SCMP_ACT_KILL"}, Call(X86_64, READ)) == [KILL]


def test_rule_with_the_default_action_is_redundant() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule("read", action="SCMP_ACT_ERRNO"), rule("write", "read")],
    }
    assert decide(profile, Call(X86_64, READ)) == [ALLOW]


def test_unknown_system_calls_are_skipped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("pyrunc.log.debug", told.append)
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule("read", "call_of_2040"), rule("another", action="SCMP_ACT_KILL")],
    }
    filter_ = compile_filter(profile, cache_dir=None)
    assert filter_.skipped == ("call_of_2040", "another")
    assert ["call_of_2040" in told[0], "another" in told[1]] == [True, True]
    assert decide(profile, Call(X86_64, READ)) == [ALLOW]


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("op", sorted(OPERATORS))
@pytest.mark.parametrize(
    "value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1]
)
@pytest.mark.parametrize("index", [0, 5])
def test_operator(op: str, value: int, index: int) -> None:
    second = value & 0x5555555555555555
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [X86],
        "syscalls": [
            rule(
                "splice",
                action="SCMP_ACT_ERRNO",
                args=[{"index": index, "value": value, "valueTwo": second, "op": op}],
            )
        ],
    }
    candidates = {(value + d) % (1 << 64) for d in (-1, 0, 1)} | {0, 1, second, value ^ (1 << 40)}
    calls = [
        Call(arch, numbers(arch)["splice"], (*[7] * index, candidate))
        for arch in (X86_64, X86)
        for candidate in sorted(candidates)
    ]
    assert decide(profile, *calls) == [expected(profile, call) for call in calls]


def test_conditions_on_different_arguments_must_all_hold() -> None:
    args = [condition(0, "EQ", 1), condition(1, "GT", 5)]
    profile = {"defaultAction": "SCMP_ACT_KILL", "syscalls": [rule("read", args=args)]}
    calls = [Call(X86_64, READ, args) for args in [(1, 6), (1, 5), (2, 6)]]
    assert decide(profile, *calls) == [ALLOW, KILL, KILL]


def test_of_conditions_on_the_same_argument_one_is_enough() -> None:
    args = [condition(0, "EQ", 1), condition(0, "EQ", 2), condition(1, "EQ", 9)]
    profile = {"defaultAction": "SCMP_ACT_KILL", "syscalls": [rule("read", args=args)]}
    calls = [Call(X86_64, READ, args) for args in [(1, 0), (2, 0), (3, 9), (3, 0)]]
    assert decide(profile, *calls) == [ALLOW, ALLOW, ALLOW, KILL]


# --- architectures -------------------------------------------------------------------------------


def test_the_native_architecture_is_always_in_the_filter() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [X86],
        "syscalls": [rule("read")],
    }
    calls = [Call(X86_64, READ), Call(X86, numbers(X86)["read"]), Call(X32, X32_BIT | READ)]
    assert decide(profile, *calls) == [ALLOW, ALLOW, KILL]


def test_calls_of_other_architectures_kill() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("read", action="SCMP_ACT_LOG")]}
    calls = [Call(X86, 3), Call(X32, X32_BIT)]
    assert decide(profile, *calls) == [KILL, KILL]


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_architecture(name: str) -> None:
    """Each is compiled, or refused for a reason of this machine that the error names."""
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [X86_64, name],
        "syscalls": [rule("getpid")],
    }
    token = libseccomp.resolve_arch(ARCHITECTURES[name])
    if token is None:
        with pytest.raises(HostError, match=name) as unknown:
            compile_filter(profile, cache_dir=None)
        assert unknown.value.pointer == "/linux/seccomp/architectures/1"
        return
    audit = 0xC000003E if name == X32 else token
    if name not in (X86_64, X32) and not audit & 0x40000000:  # __AUDIT_ARCH_LE
        with pytest.raises(ConfigError, match="byte order") as refused:
            compile_filter(profile, cache_dir=None)
        assert refused.value.pointer == "/linux/seccomp/architectures/1"
        return
    code = bpf.decode(compile_filter(profile, cache_dir=None).program)
    number = libseccomp.resolve_syscall_on(token, "getpid")
    assert number is not None
    assert bpf.run(code, audit, number) == ALLOW
    assert bpf.run(code, audit, number + 1) == ENOSYS
    assert bpf.run(code, 0x1234, number) == KILL


# --- calls newer than the profile
# ------------------------------------------------------------------


def test_calls_newer_than_a_denying_profile_give_enosys() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [X86_64, X86, X32],
        "syscalls": [rule("openat2"), rule("close_range", action="SCMP_ACT_ERRNO")],
    }
    for arch in (X86_64, X86, X32):
        newest = numbers(arch)["openat2"]
        older = Call(arch, numbers(arch)["getpid"])
        assert decide(profile, older, Call(arch, newest), Call(arch, newest + 1)) == [
            ERRNO_EPERM,
            ALLOW,
            ENOSYS,
        ]


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_a_permissive_default_stands_for_newer_calls_too(action: str) -> None:
    profile = {
        "defaultAction": action,
        "syscalls": [rule("read", action="SCMP_ACT_ERRNO")],
    }
    number = 1 if action == "SCMP_ACT_TRACE" else 0
    assert decide(profile, Call(X86_64, 999)) == [ACTIONS[action] | number]


@pytest.mark.parametrize(
    "action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO"]
)
def test_a_denying_default_does_not(action: str) -> None:
    profile = {"defaultAction": action, "syscalls": [rule("getpid")]}
    assert decide(profile, Call(X86_64, 999)) == [ENOSYS]


def test_a_default_of_enosys_needs_no_help() -> None:
    plain = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("getpid")]}
    helped = compile_filter(plain, cache_dir=None)
    alone = compile_filter({**plain, "defaultErrnoRet": errno.ENOSYS}, cache_dir=None)
    assert len(alone.program) < len(helped.program)
    assert decide({**plain, "defaultErrnoRet": errno.ENOSYS}, Call(X86_64, 999)) == [ENOSYS]


def test_allowed_operations_of_socketcall_and_ipc_are_not_taken_for_newer() -> None:
    """On x86 these have a number of their own beside the multiplexer's; both must be allowed."""
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [X86],
        "syscalls": [rule("read", "socket", "shmget")],
    }
    table = numbers(X86)
    calls = [
        Call(X86, table["socket"]),
        Call(X86, table["shmget"]),
        Call(X86, table["socketcall"], (1,)),
        Call(X86, table["ipc"], (23,)),
    ]
    assert decide(profile, *calls) == [ALLOW] * len(calls)
    assert decide(profile, Call(X86, table["shmget"] + 1)) == [ENOSYS]


# --- flags, listener
# -------------------------------------------------------------------------------

TSYNC, LOG, SPEC_ALLOW, NEW_LISTENER, TSYNC_ESRCH, WAIT_KILLABLE_RECV = (1 << n for n in range(6))


@pytest.mark.parametrize(
    ("names", "notify", "flags"),
    [
        (None, False, SPEC_ALLOW),
        (None, True, SPEC_ALLOW | NEW_LISTENER),
        ([], False, 0),
        (["TSYNC"], False, TSYNC),
        (["TSYNC"], True, TSYNC | TSYNC_ESRCH | NEW_LISTENER),
        (["LOG", "SPEC_ALLOW"], False, LOG | SPEC_ALLOW),
        (["WAIT_KILLABLE_RECV"], True, WAIT_KILLABLE_RECV | NEW_LISTENER),
        (["WAIT_KILLABLE_RECV", "LOG"], False, LOG),
    ],
)
def test_flags(names: list[str] | None, notify: bool, flags: int) -> None:
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/agent.sock",
        "syscalls": [rule("getcwd", action="SCMP_ACT_NOTIFY" if notify else "SCMP_ACT_LOG")],
    }
    if names is not None:
        profile["flags"] = [f"SECCOMP_FILTER_FLAG_{name}" for name in names]
    filter_ = compile_filter(profile, cache_dir=None)
    assert filter_.flags == flags
    assert filter_.listener is notify


def test_a_flag_that_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "flags_available", lambda flags: not flags & WAIT_KILLABLE_RECV)
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": "/run/agent.sock",
        "syscalls": [rule("getcwd", action="SCMP_ACT_NOTIFY")],
    }
    with pytest.raises(HostError, match="WAIT_KILLABLE_RECV") as lacking:
        compile_filter(profile, cache_dir=None)
    assert lacking.value.pointer == "/linux/seccomp/flags/1"


# --- errors
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}, "/defaultAction"),
        ({"defaultAction": "SCMP_ACT_SHRUG"}, "/defaultAction"),
        ({"defaultErrnoRet": 1}, "/defaultErrnoRet"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}, "/defaultErrnoRet"),
        ({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536}, "/defaultErrnoRet"),
        ({"architectures": [X86, "SCMP_ARCH_VAX"]}, "/architectures/1"),
        ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "/flags/0"),
        ({"listenerMetadata": "x"}, "/listenerMetadata"),
        ({"syscalls": [rule("read", action="SCMP_ACT_NOTIFY")]}, "/listenerPath"),
        (
            {
                "syscalls": [rule("read"), rule("getcwd", "write", action="SCMP_ACT_NOTIFY")],
                "listenerPath": "/s",
            },
            "/syscalls/1/names/1",
        ),
        ({"syscalls": [rule("read", action="SCMP_ACT_SHRUG")]}, "/syscalls/0/action"),
        ({"syscalls": [rule("read", errnoRet=1)]}, "/syscalls/0/errnoRet"),
        ({"syscalls": [rule()]}, "/syscalls/0/names"),
        ({"syscalls": [rule("read", "")]}, "/syscalls/0/names/1"),
        (
            {"syscalls": [rule("read"), rule("write", args=[condition(0, "NEQ", 1)])]},
            "/syscalls/1/args/0/op",
        ),
        ({"syscalls": [rule("read", args=[condition(6, "EQ", 1)])]}, "/syscalls/0/args/0/index"),
    ],
)
def test_violation(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compile_filter({"defaultAction": "SCMP_ACT_KILL", **change}, cache_dir=None)
    assert [v.pointer for v in refused.value.violations] == [f"/linux/seccomp{pointer}"]


def test_all_violations_are_told_at_once() -> None:
    profile = {"defaultAction": "?", "flags": ["?"], "syscalls": [rule("a", action="?")]}
    with pytest.raises(ConfigError) as refused:
        compile_filter(profile, cache_dir=None)
    assert [v.pointer for v in refused.value.violations] == [
        "/linux/seccomp/defaultAction",
        "/linux/seccomp/flags/0",
        "/linux/seccomp/syscalls/0/action",
    ]


def test_contradicting_rules() -> None:
    args = [condition(0, "EQ", 1)]
    profile = {
        "defaultAction": "SCMP_ACT_KILL",
        "syscalls": [
            rule("read", args=args),
            rule("close", "read", action="SCMP_ACT_ERRNO", args=args),
        ],
    }
    with pytest.raises(ConfigError, match="earlier rule") as refused:
        compile_filter(profile, cache_dir=None)
    assert refused.value.pointer == "/linux/seccomp/syscalls/1/names/1"


def test_a_program_that_the_kernel_would_refuse_for_its_length() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            rule("read", action="SCMP_ACT_ERRNO", args=[condition(0, "EQ", value)])
            for value in range(4100)
        ],
    }
    with pytest.raises(HostError, match="4096") as refused:
        compile_filter(profile, cache_dir=None)
    assert refused.value.pointer == "/linux/seccomp"


# --- against the model
# -------------------------------------------------------------------------------


def test_engine_profile() -> None:
    """Every number of every architecture, known or not, gets what the model says."""
    profile = engine_profile()
    filter_ = compile_filter(profile, cache_dir=None)
    profile = without(profile, filter_.skipped)
    calls = [
        Call(arch, number | (X32_BIT if arch == X32 else 0), (arg,))
        for arch in (X86_64, X86, X32)
        for number in range(700)
        for arg in (0, 0x8, 0x20008, 0xFFFFFFFF, 0x10000000)
    ]
    code = bpf.decode(filter_.program)
    for call in calls:
        assert bpf.run(code, AUDIT[call.arch], call.number, call.args) == expected(profile, call), (
            call
        )


def test_binary_tree_and_list_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = engine_profile()
    tree = bpf.decode(compile_filter(profile, cache_dir=None).program)
    monkeypatch.setattr("pyrunc.plan.seccomp_filter._TREE_THRESHOLD", 1 << 20)
    flat = bpf.decode(compile_filter(profile, cache_dir=None).program)
    assert tree != flat
    for arch in (X86_64, X86, X32):
        for number in range(700):
            wide = number | (X32_BIT if arch == X32 else 0)
            assert bpf.run(tree, AUDIT[arch], wide, (8,)) == bpf.run(flat, AUDIT[arch], wide, (8,))


def without(profile: dict[str, Any], skipped: tuple[str, ...]) -> dict[str, Any]:
    """The profile less the calls that this libseccomp is too old to know."""
    rules = [
        {**r, "names": [name for name in r["names"] if name not in skipped]}
        for r in profile["syscalls"]
    ]
    return {**profile, "syscalls": [r for r in rules if r["names"]]}


# Calls that have one number and no multiplexer on each of the three architectures.
_NAMES = [
    "read",
    "close",
    "getpid",
    "kill",
    "splice",
    "openat",
    "execveat",
    "renameat2",
    "faccessat2",
]
_VALUES = st.one_of(
    st.integers(0, 3),
    st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 63, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
_RULE_ACTIONS = [
    ("SCMP_ACT_ALLOW", None),
    ("SCMP_ACT_KILL_PROCESS", None),
    ("SCMP_ACT_ERRNO", errno.EACCES),
    ("SCMP_ACT_TRACE", 5),
]


@st.composite
def conditions(draw: st.DrawFn, index: int, op: str | None = None) -> dict[str, Any]:
    op = op or draw(st.sampled_from(sorted(OPERATORS)))
    return {"index": index, "op": op, "value": draw(_VALUES), "valueTwo": draw(_VALUES)}


@st.composite
def argument_lists(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """The `args` of the rules for one call: none, all of several, or one of several alternatives.

    Alternatives are equalities of one argument, as in the profiles of engines: where others
    overlap (`<= 0` and `<= 1 << 32`, say), libseccomp 2.5.4 loses matches when it merges them.
    """
    indexes = draw(st.lists(st.integers(0, 5), unique=True, max_size=3))
    shape = draw(st.sampled_from(["all", "one of the rules", "one of the conditions"]))
    if shape == "all" or not indexes:
        return [[draw(conditions(index)) for index in indexes]]
    alternatives = draw(st.lists(conditions(indexes[0], "SCMP_CMP_EQ"), min_size=1, max_size=4))
    return [[c] for c in alternatives] if shape == "one of the rules" else [alternatives]


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Random profiles; all rules for one call have one action (see `expected`)."""
    rules = []
    for name in draw(st.lists(st.sampled_from(_NAMES), unique=True, max_size=5)):
        action, number = draw(st.sampled_from(_RULE_ACTIONS))
        more = {} if number is None else {"errnoRet": number}
        rules += [rule(name, action=action, args=args, **more) for args in draw(argument_lists())]
    defaults = ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"]
    return {
        "defaultAction": draw(st.sampled_from(defaults)),
        "architectures": draw(st.lists(st.sampled_from([X86_64, X86, X32]), unique=True)),
        "syscalls": draw(st.permutations(rules)),
    }


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(profile=profiles(), data=st.data())
def test_random_profile(profile: dict[str, Any], data: st.DataObject) -> None:
    code = bpf.decode(compile_filter(profile, cache_dir=None).program)
    edges = {
        (c[key] + delta) % (1 << 64)
        for r in profile["syscalls"]
        for c in r["args"]
        for key in ("value", "valueTwo")
        for delta in (-1, 0, 1)
    }
    values = st.one_of(st.sampled_from(sorted(edges)), _VALUES) if edges else _VALUES
    arguments = data.draw(st.lists(st.tuples(*[values] * 6), min_size=1, max_size=6))
    named = {name for r in profile["syscalls"] for name in r["names"]} | {"read"}
    for arch in (X86_64, X86, X32):
        bit = X32_BIT if arch == X32 else 0
        for number in [*(numbers(arch)[name] for name in sorted(named)), bit | 1, bit | 900]:
            for args in arguments:
                call = Call(arch, number, args)
                note(f"{call}")
                assert bpf.run(code, AUDIT[arch], number, args) == expected(profile, call)


def test_tables_name_what_the_schema_names() -> None:
    assert set(FLAGS) == {
        f"SECCOMP_FILTER_FLAG_{name}"
        for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
    }


# --- compiled meanwhile --------------------------------------------------------------------------


def test_a_pending_filter_is_the_filter(tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", "call_of_2040")]}
    expected_one = compile_filter(profile, cache_dir=None)
    for cache in (None, str(tmp_path / "cache"), str(tmp_path / "cache")):
        pending = PendingFilter(profile, cache)
        for _ in range(2):
            got = pending.result()
            assert (got.program, got.flags) == (expected_one.program, expected_one.flags)
            assert got.skipped == ("call_of_2040",)


def test_a_pending_filter_fails_as_the_filter_does() -> None:
    profile = {"defaultAction": "SCMP_ACT_NONSENSE", "syscalls": []}
    pending = PendingFilter(profile, None)
    for _ in range(2):
        with pytest.raises(ConfigError) as refused:
            pending.result()
        assert refused.value.pointer == "/linux/seccomp/defaultAction"


def test_a_pending_filter_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert PendingFilter(profile, None).result().program
