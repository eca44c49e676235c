"""The filters that containers really have, read back from the kernel, and what they do to
programs.
"""

from __future__ import annotations

import errno
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import bpf
from helpers.bundle import Bundle
from helpers.ptrace import seccomp_filters
from helpers.runtime import Runtime
from helpers.seccomp_agent import Answer, Notification, SeccompAgent
from helpers.seccomp_profiles import AUDIT, X32, X32_BIT, X86, X86_64, engine_profile, numbers

from pyrunc.plan.seccomp import compile_filter

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="calls are made by x86 numbers"),
]

MakeBundle = Callable[..., Bundle]

SMALL = {
    "defaultAction": "SCMP_ACT_KILL_PROCESS",
    "architectures": [X86_64, X86],
    "flags": [],
    "syscalls": [
        {"names": sorted(numbers(X86_64).keys() - {"getppid"}), "action": "SCMP_ACT_ALLOW"},
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_TRACE",
            "errnoRet": 9,
            "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 8}],
        },
    ],
}
ALLOWING = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {
            "names": ["ptrace"],
            "action": "SCMP_ACT_ERRNO",
            "args": [
                {"index": 0, "op": "SCMP_CMP_EQ", "value": 7},
                {"index": 0, "op": "SCMP_CMP_EQ", "value": 9},
                {"index": 1, "op": "SCMP_CMP_EQ", "value": 1},
            ],
        }
    ],
}


def filters_under(runtime: Runtime, bundle: Bundle, container: str) -> list[bytes]:
    """The filters of a container that sleeps."""
    bundle.args("sleep", "1000")
    runtime.detached("run", container, bundle.path, "--detach")
    try:
        return seccomp_filters(runtime.state(container)["pid"])
    finally:
        runtime("delete", "--force", container)


@pytest.mark.parametrize(
    "profile", [engine_profile(), SMALL, ALLOWING], ids=["engine", "small", "allowing"]
)
def test_decides_as_the_filter_of_runc(
    profile: dict[str, Any],
    bundle: Bundle,
    container_id: str,
    make_runtime: Callable[[Path], Runtime],
) -> None:
    binary = shutil.which("runc")
    if binary is None:
        pytest.fail("no runc: scripts/install-deps test")
    bundle.config["linux"]["seccomp"] = profile
    (theirs,) = map(bpf.decode, filters_under(make_runtime(Path(binary)), bundle, container_id))
    ours = bpf.decode(compile_filter(profile, cache_dir=None).program)
    for arch in (X86_64, X86, X32):
        bit = X32_BIT if arch == X32 else 0
        for number in [*(bit | n for n in range(700)), -1]:
            for args in [(0,), (7, 7), (8, 1), (9, 1), (0x10000000,), (0xFFFFFFFF, 1)]:
                decisions = [bpf.run(code, AUDIT[arch], number, args) for code in (theirs, ours)]
                assert decisions[0] == decisions[1], (arch, number, args)


@pytest.mark.parametrize(
    "profile", [engine_profile(), SMALL, ALLOWING], ids=["engine", "small", "allowing"]
)
def test_the_container_has_the_compiled_filter(
    profile: dict[str, Any], runtime: Runtime, bundle: Bundle, container_id: str
) -> None:
    bundle.config["linux"]["seccomp"] = profile
    program = compile_filter(profile, cache_dir=None).program
    # The second time the filter comes from the cache.
    assert filters_under(runtime, bundle, container_id) == [program]
    assert filters_under(runtime, bundle, container_id) == [program]


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("privileged", [False, True])
def test_denied_call(runtime: Runtime, bundle: Bundle, container_id: str, privileged: bool) -> None:
    """With and without no_new_privs, which decides when the filter can be installed."""
    bundle.config["process"]["noNewPrivileges"] = not privileged
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}],
    }
    bundle.sh("mkdir /tmp/x; grep Seccomp: /proc/self/status")
    done = runtime.run(container_id, bundle.path)
    assert "Invalid cross-device link" in done.stderr
    assert done.stdout.split() == ["Seccomp:", "2"]


@pytest.mark.usefixtures("no_leaks")
def test_killed_by_the_filter(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    done = runtime.run(container_id, bundle.args("mkdir", "/tmp/x").path, check=False)
    assert done.returncode == 128 + 31


@pytest.mark.usefixtures("no_leaks")
def test_wrong_profile_is_refused(runtime: Runtime, bundle: Bundle, container_id: str) -> None:
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}],
    }
    done = runtime.run(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert "/linux/seccomp/syscalls/0/errnoRet" in done.stderr


# --- notifications
# -----------------------------------------------------------------------------------


def answer(notification: Notification) -> Answer:
    """Directories cannot be made for a reason of the agent's; the rest goes on as it would."""
    if notification.number == numbers(X86_64)["mkdir"]:
        return Answer(error=errno.EDOM)
    return Answer(proceed=True)


def notifying(path: Path, *more: str) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "listenerMetadata": "some metadata",
        "syscalls": [{"names": ["mkdir", *more], "action": "SCMP_ACT_NOTIFY"}],
    }


@pytest.mark.usefixtures("no_leaks")
def test_agent_gets_the_state_and_answers(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    agent = SeccompAgent(tmp_path / "agent.sock", answer)
    bundle.config["linux"]["seccomp"] = notifying(agent.path)
    bundle.config["annotations"] = {"key": "value"}
    bundle.sh("mkdir /tmp/x")
    with agent.serve():
        done = runtime.run(container_id, bundle.path, check=False)
        (connection,) = agent.wait_for_connections(1)
    assert "argument out of domain" in done.stderr
    state = connection.state
    assert list(connection.fds) == ["seccompFd"]
    assert state["metadata"] == "some metadata"
    assert state["ociVersion"] == state["state"]["ociVersion"]
    assert state["state"]["id"] == container_id
    assert state["state"]["status"] == "creating"
    assert state["state"]["bundle"] == str(bundle.path)
    assert state["state"]["annotations"] == {"key": "value"}
    assert state["pid"] == state["state"]["pid"] > 0
    assert {n.number for n in agent.notifications} == {numbers(X86_64)["mkdir"]}


@pytest.mark.usefixtures("no_leaks")
def test_agent_is_told_of_exec_too(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    agent = SeccompAgent(tmp_path / "agent.sock", answer)
    bundle.config["linux"]["seccomp"] = notifying(agent.path)
    with agent.serve():
        runtime.detached("run", container_id, bundle.args("sleep", "1000").path, "--detach")
        init = runtime.state(container_id)["pid"]
        done = runtime("exec", container_id, "mkdir", "/tmp/x", check=False)
        first, second = agent.wait_for_connections(2)
        runtime("delete", "--force", container_id)
    assert "argument out of domain" in done.stderr
    assert first.state["pid"] == init
    assert second.state["pid"] != init
    assert second.state["state"]["pid"] == init
    assert second.state["state"]["status"] == "running"


@pytest.mark.usefixtures("no_leaks")
def test_the_runtime_does_not_hang_on_calls_that_wait_for_the_agent(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path
) -> None:
    """Whatever the runtime itself calls after the filter is in force is answered only once the
    agent has the listener."""
    agent = SeccompAgent(tmp_path / "agent.sock", answer)
    names = numbers(X86_64).keys() - {"write", "mkdir"}
    bundle.config["linux"]["seccomp"] = notifying(agent.path, *sorted(names))
    bundle.sh("echo done")
    with agent.serve():
        done = runtime.run(container_id, bundle.path)
    assert done.stdout == "done\n"


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("listening", [False, True])
def test_an_agent_that_is_not_there(
    runtime: Runtime, bundle: Bundle, container_id: str, tmp_path: Path, listening: bool
) -> None:
    path = tmp_path / "agent.sock"
    if listening:
        path.touch()
    bundle.config["linux"]["seccomp"] = notifying(path)
    done = runtime.run(container_id, bundle.save().path, check=False)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "/linux/seccomp/listenerPath" in done.stderr
