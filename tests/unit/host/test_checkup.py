"""The findings of `pyrunc doctor`, on hosts that lack one thing or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrunc.host.checkup import BAD, GOOD, NOTE, Finding, Host, findings
from pyrunc.host.facts import CAPABILITIES, HostFacts

ROOT = "/sys/fs/cgroup"

#: A host that has all.
FILES = {
    **{
        f"/proc/self/ns/{n}": ""
        for n in ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"]
    },
    "/proc/sys/kernel/seccomp/actions_avail": "kill_process errno allow",
    "/proc/sys/kernel/cap_last_cap": "40",
    "/proc/sys/user/max_user_namespaces": "10000",
    f"{ROOT}/cgroup.controllers": "cpu cpuset memory pids io hugetlb rdma",
    f"{ROOT}/user/memory.swap.max": "max",
    f"{ROOT}/user/cgroup.procs": "",
    "/run/systemd/system": "",
    "/etc/subuid": "someone:1:1\nme:100000:65536",
    "/etc/subgid": "1000:100000:65536",
}
FACTS: dict[str, Any] = {
    "kernel": (6, 1),
    "euid": 0,
    "filesystems": frozenset(["overlay", "tmpfs", "proc", "sysfs", "mqueue"]),
    "cgroup_mode": "v2",
    "cgroup_mounts": {"": ROOT},
    "cgroup_own": {"": "/user"},
    "apparmor": True,
    "selinux": True,
    "capabilities": frozenset(CAPABILITIES),
    "user_namespace": False,
}


class FakeHost(Host):
    def __init__(self, files: dict[str, str], facts: dict[str, Any], programs: bool) -> None:
        super().__init__(HostFacts(**facts))
        self.files = files
        self.programs = programs

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def exists(self, path: str) -> bool:
        return path in self.files

    def writable(self, path: str) -> bool:
        return path in self.files

    def program(self, name: str) -> str:
        return f"/usr/bin/{name}" if self.programs else ""

    def user(self) -> str:
        return "me"


Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")

    def findings_of(
        files: dict[str, str | None] | None = None, *, programs: bool = True, **facts: Any
    ) -> dict[str, Finding]:
        there = {p: t for p, t in {**FILES, **(files or {})}.items() if t is not None}
        host = FakeHost(there, FACTS | facts, programs)
        return {f"{f.area} {f.name}": f for f in findings(host)}

    return findings_of


def test_a_host_that_has_all(look: Look) -> None:
    assert {name: f.text for name, f in look().items() if f.kind != GOOD or f.mend} == {}


#: What differs from it, the finding that tells, its kind, and a word of the way to mend it.
LACKS: list[tuple[dict[str, Any], dict[str, Any], str, str, str]] = [
    ({}, {"kernel": (5, 10)}, "kernel version", BAD, "5.14"),
    ({"/proc/self/ns/time": None}, {}, "kernel namespaces", NOTE, "CONFIG"),
    ({"/proc/self/ns/pid": None}, {}, "kernel namespaces", BAD, "CONFIG"),
    ({"/proc/sys/vm/memfd_noexec": "2"}, {}, "kernel memfd", BAD, "vm.memfd_noexec=1"),
    ({}, {"filesystems": frozenset(["tmpfs", "proc"])}, "kernel filesystems", NOTE, "modprobe"),
    ({}, {"filesystems": frozenset(["overlay"])}, "kernel filesystems", BAD, "modprobe"),
    ({}, {"cgroup_mode": "none"}, "cgroup mode", BAD, "mount -t cgroup2"),
    (
        {f"{ROOT}/cgroup.controllers": "cpu memory"},
        {},
        "cgroup controllers",
        NOTE,
        "cgroup_disable=",
    ),
    ({f"{ROOT}/user/memory.swap.max": None}, {}, "cgroup swap", NOTE, "swapaccount=1"),
    ({"/run/systemd/system": None}, {}, "cgroup systemd", NOTE, "cgroupfs"),
    (
        {"/proc/sys/kernel/seccomp/actions_avail": None},
        {},
        "security seccomp",
        NOTE,
        "CONFIG_SECCOMP_FILTER",
    ),
    ({}, {"apparmor": False}, "security AppArmor", NOTE, "lsm="),
    ({}, {"selinux": False}, "security SELinux", NOTE, "lsm="),
    (
        {},
        {"capabilities": frozenset(CAPABILITIES) - {"CAP_SYS_RESOURCE"}},
        "security capabilities",
        NOTE,
        "CapabilityBoundingSet",
    ),
    ({}, {"capabilities": frozenset()}, "security capabilities", BAD, "CapabilityBoundingSet"),
    (
        {"/proc/sys/user/max_user_namespaces": "0"},
        {},
        "rootless user namespaces",
        NOTE,
        "user.max_user_namespaces",
    ),
    (
        {"/proc/sys/kernel/unprivileged_userns_clone": "0"},
        {},
        "rootless user namespaces",
        NOTE,
        "unprivileged_userns_clone=1",
    ),
    (
        {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
        {},
        "rootless user namespaces",
        NOTE,
        "AppArmor profile",
    ),
    (
        {"/etc/subuid": "x:1:1"},
        {"euid": 1000},
        "rootless /etc/subuid",
        NOTE,
        "usermod --add-subuids",
    ),
    ({"/etc/subgid": None}, {"euid": 1000}, "rootless /etc/subgid", NOTE, "usermod --add-subgids"),
    ({f"{ROOT}/user/cgroup.procs": None}, {"euid": 1000}, "rootless cgroup", NOTE, "Delegate=yes"),
    ({}, {"euid": 1000}, "rootless XDG_RUNTIME_DIR", NOTE, "pam_systemd"),
]


@pytest.mark.parametrize(
    ("files", "facts", "name", "kind", "mend"),
    LACKS,
    ids=[f"{n}-{i}" for i, (_, _, n, _, _) in enumerate(LACKS)],
)
def test_what_is_missing_and_how_to_mend_it(
    look: Look, files: dict[str, Any], facts: dict[str, Any], name: str, kind: str, mend: str
) -> None:
    finding = look(files, **facts)[name]
    assert finding.kind == kind, finding.text
    assert mend in finding.mend


def test_capabilities_that_the_kernel_does_not_know_are_not_missed(look: Look) -> None:
    known = frozenset(CAPABILITIES[:38])
    finding = look({"/proc/sys/kernel/cap_last_cap": "37"}, capabilities=known)
    assert finding["security capabilities"].kind == GOOD


def test_version_1(look: Look) -> None:
    mounts = {n: f"{ROOT}/{n}" for n in ["cpu", "cpuacct", "memory", "pids", "devices", "freezer"]}
    files = {f"{ROOT}/memory/memory.memsw.limit_in_bytes": ""}
    found = look(files, cgroup_mode="v1", cgroup_mounts=mounts)
    assert (found["cgroup mode"].kind, found["cgroup controllers"].kind) == (NOTE, GOOD)
    assert "unified_cgroup_hierarchy" in found["cgroup mode"].mend
    assert found["cgroup swap"].kind == GOOD
    del mounts["devices"]
    assert look(files, cgroup_mode="v1", cgroup_mounts=mounts)["cgroup controllers"].kind == NOTE


def test_without_the_helpers_of_users(look: Look) -> None:
    finding = look(programs=False)["rootless id mapping"]
    assert (finding.kind, "uidmap" in finding.mend) == (NOTE, True)
