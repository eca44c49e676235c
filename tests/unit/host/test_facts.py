"""Facts about the host: given ones count, others are found out once, cgroups without mountinfo."""

from __future__ import annotations

import os

import pytest

from pyrunc.host import facts as module
from pyrunc.host.facts import HostFacts, parse_mountinfo, parse_proc_cgroup


def test_given_facts_count() -> None:
    facts = HostFacts(euid=1000, cgroup_mode="v2")
    assert (facts.euid, facts.cgroup_mode) == (1000, "v2")
    assert facts.cgroup_mounts == {"": "/sys/fs/cgroup"}


def test_unknown_facts() -> None:
    with pytest.raises(TypeError, match="no fact 'colour'"):
        HostFacts(colour="blue")
    with pytest.raises(AttributeError):
        getattr(HostFacts(), "colour")  # noqa: B009


def test_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = HostFacts()
    first = facts.euid
    monkeypatch.setattr(os, "geteuid", lambda: first + 1)
    assert facts.euid == first
    assert HostFacts().euid == first + 1


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("5.14", (5, 14)), ("6.1-rc1", (6, 1)), ("4.18.0-1.el8", (4, 18))],
)
def test_kernel(monkeypatch: pytest.MonkeyPatch, release: str, version: tuple[int, int]) -> None:
    result = os.uname_result(("Linux", "host", release, "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: result)
    assert HostFacts().kernel == version


def test_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    status = b"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000010000000081\nCapBnd:\t0\n"
    monkeypatch.setattr(module, "read_bytes", lambda _: status)
    expected = {"CAP_CHOWN", "CAP_SETUID", "CAP_CHECKPOINT_RESTORE"}
    assert HostFacts().capabilities == expected


@pytest.mark.parametrize(
    ("uid_map", "inside"),
    [(b"         0          0 4294967295\n", False), (b"0 1000 1\n", True), (b"", True)],
)
def test_user_namespace(monkeypatch: pytest.MonkeyPatch, uid_map: bytes, inside: bool) -> None:
    monkeypatch.setattr(module, "read_bytes", lambda _: uid_map)
    assert HostFacts().user_namespace is inside


OWN = "12:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n1:name=systemd:/\n0::/docker/1\n"


def test_proc_cgroup() -> None:
    assert parse_proc_cgroup(OWN) == {
        "cpu": "/docker/1",
        "cpuacct": "/docker/1",
        "memory": "/docker/1",
        "name=systemd": "/",
        "": "/docker/1",
    }
    assert parse_proc_cgroup("0::/a:b\n") == {"": "/a:b"}


@pytest.fixture
def cgroup_root(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> str:
    root = str(tmp_path)
    monkeypatch.setattr(module, "CGROUP_ROOT", root)
    read = module.read_bytes

    def without_mountinfo(path: str) -> bytes:
        if path == "/proc/self/cgroup":
            return OWN.encode()
        assert path != "/proc/self/mountinfo", "mountinfo is read"
        return read(path)

    monkeypatch.setattr(module, "read_bytes", without_mountinfo)
    return root


def make(root: str, *names: str) -> None:
    for name in names:
        directory = os.path.join(root, name)
        os.makedirs(directory)
        with open(f"{directory}/cgroup.procs", "w"):
            pass


def test_conventional_v1_needs_no_mountinfo(cgroup_root: str) -> None:
    make(cgroup_root, "cpu,cpuacct/docker/1", "memory/docker/1", "systemd")
    for name in ("cpu", "cpuacct"):
        os.symlink("cpu,cpuacct", f"{cgroup_root}/{name}")
    facts = HostFacts()
    assert facts.cgroup_mode == "v1"
    assert facts.cgroup_mounts == {
        "cpu": f"{cgroup_root}/cpu",
        "cpuacct": f"{cgroup_root}/cpuacct",
        "memory": f"{cgroup_root}/memory",
        "name=systemd": f"{cgroup_root}/systemd",
    }
    assert facts.cgroup_own["memory"] == "/docker/1"


def test_conventional_hybrid(cgroup_root: str) -> None:
    for name in ("cpu", "cpuacct", "memory", "unified"):
        make(cgroup_root, f"{name}/docker/1")
    make(cgroup_root, "systemd")
    facts = HostFacts()
    assert facts.cgroup_mode == "hybrid"
    assert facts.cgroup_mounts[""] == f"{cgroup_root}/unified"


def test_v2(cgroup_root: str) -> None:
    with open(f"{cgroup_root}/cgroup.controllers", "w"):
        pass
    facts = HostFacts()
    assert facts.cgroup_mode == "v2"
    assert facts.cgroup_mounts == {"": cgroup_root}
    assert facts.cgroup_own == {"": "/docker/1"}


def test_unconventional_layout_is_looked_up(cgroup_root: str) -> None:
    make(cgroup_root, "memory/docker/1")
    with pytest.raises(AssertionError, match="mountinfo is read"):
        HostFacts().cgroup_mounts  # noqa: B018


MOUNTINFO = """\
20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
31 20 0:28 / /cg\\040roups/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct
32 20 0:29 /other /mnt/part rw - cgroup cgroup rw,memory
33 20 0:29 / /cg/memory rw - cgroup cgroup rw,memory
34 20 0:29 / /later/memory rw - cgroup cgroup rw,memory
35 20 0:30 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 20 0:31 / /mnt/private rw - cgroup2 cgroup2 rw
"""


def test_mountinfo() -> None:
    mounts, own = parse_mountinfo(MOUNTINFO, parse_proc_cgroup(OWN))
    assert mounts == {
        "cpu": "/cg roups/cpu,cpuacct",
        "cpuacct": "/cg roups/cpu,cpuacct",
        "memory": "/cg/memory",
        "name=systemd": "/cg/systemd",
    }
    assert own == {"cpu": "/docker/1", "cpuacct": "/docker/1", "memory": "/docker/1"} | {
        "name=systemd": "/"
    }


def test_mountinfo_of_a_container_that_sees_a_part() -> None:
    text = "33 20 0:29 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    mounts, own = parse_mountinfo(text, {"memory": "/docker/1/inner", "pids": "/"})
    assert mounts == {"memory": "/sys/fs/cgroup/memory"}
    assert own == {"memory": "/inner"}
    assert parse_mountinfo(text, {"memory": "/docker/1"})[1] == {"memory": "/"}
    assert parse_mountinfo(text, {"memory": "/docker/11"})[1] == {"memory": "/"}


def test_mountinfo_with_v2_only() -> None:
    text = "36 20 0:31 / /mnt/cgroup rw - cgroup2 cgroup2 rw\n"
    assert parse_mountinfo(text, {"": "/a"}) == ({"": "/mnt/cgroup"}, {"": "/a"})


def test_filesystems_and_where_resctrl_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/filesystems": b"nodev\ttmpfs\nnodev\tresctrl\n\text4\n",
        "/proc/self/mountinfo": b"1 2 0:3 / / rw - ext4 /dev/a rw\n"
        b"9 1 0:4 / /sys/fs/res\\040ctrl rw shared:5 - resctrl resctrl rw,cdp\n",
    }
    monkeypatch.setattr(module, "read_bytes", files.__getitem__)
    assert HostFacts().filesystems == {"tmpfs", "resctrl", "ext4"}
    assert HostFacts().resctrl == "/sys/fs/res ctrl"
    files["/proc/self/mountinfo"] = b"1 2 0:3 / / rw - ext4 resctrl rw\n"
    assert HostFacts().resctrl == ""
