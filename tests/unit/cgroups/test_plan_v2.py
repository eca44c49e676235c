"""The plan of a cgroup v2 container: its directory, the conversions, device program, delegation."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pyrunc.cgroups import Cgroup, CgroupPlan, compile_cgroup
from pyrunc.cgroups.resources_v2 import V2Compiler, io_weight, weight_of_shares
from pyrunc.cgroups.stats_v2 import pressure
from pyrunc.cgroups.v2 import place_below
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts

ROOT = "/sys/fs/cgroup"


def host(**facts: Any) -> HostFacts:
    known: dict[str, Any] = {
        "cgroup_mode": "v2",
        "cgroup_mounts": {"": ROOT},
        "cgroup_own": {"": "/user.slice/session-1.scope"},
        "user_namespace": False,
    }
    return HostFacts(**(known | facts))


def plan(config: dict[str, Any], *, rootless: bool = False, **facts: Any) -> CgroupPlan:
    return compile_cgroup(config, "box", host(**facts), driver="cgroupfs", rootless=rootless)


def written(resources: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    result = plan({"linux": {"cgroupsPath": "/box", "resources": resources}})
    return [
        (
            write.path.removeprefix(f"{ROOT}/box/"),
            write.value,
            write.pointer and write.pointer.removeprefix("/linux/resources"),
        )
        for write in result.writes
    ]


@pytest.mark.parametrize(
    ("cgroups_path", "own", "expected"),
    [
        ("/a/b", "/x/y", "/a/b"),
        ("/../a", "/x/y", "/a"),
        ("a/b", "/x/y", "/x/a/b"),
        ("../../a", "/x/y", "/x/a"),
        ("", "/x/y", "/x/box"),
        ("", "/", "/box"),
    ],
)
def test_cgroups_path(cgroups_path: str, own: str, expected: str) -> None:
    result = plan({"linux": {"cgroupsPath": cgroups_path}}, cgroup_own={"": own})
    assert result.paths == {"": ROOT + expected}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            {"memory": {"limit": 1000, "swap": 3000, "reservation": 500}},
            [
                ("memory.swap.max", "2000", "/memory/swap"),
                ("memory.max", "1000", "/memory/limit"),
                ("memory.low", "500", "/memory/reservation"),
            ],
        ),
        (
            {"memory": {"limit": 1000, "swap": 1000}},
            [
                ("memory.swap.max", "0", "/memory/swap"),
                ("memory.max", "1000", "/memory/limit"),
            ],
        ),
        (
            {"memory": {"limit": 1000, "swap": -1}},
            [
                ("memory.swap.max", "max", "/memory/swap"),
                ("memory.max", "1000", "/memory/limit"),
            ],
        ),
        (
            {"memory": {"limit": -1}},
            [
                ("memory.swap.max", "max", "/memory/limit"),
                ("memory.max", "max", "/memory/limit"),
            ],
        ),
        (
            {"memory": {"limit": -1, "swap": 5000, "reservation": -1}},
            [
                ("memory.swap.max", "5000", "/memory/swap"),
                ("memory.max", "max", "/memory/limit"),
                ("memory.low", "max", "/memory/reservation"),
            ],
        ),
        ({"memory": {"limit": 1000}}, [("memory.max", "1000", "/memory/limit")]),
        (
            {"memory": {"kernel": -1, "kernelTCP": -1, "useHierarchy": True}},
            [],
        ),
        ({"memory": {"limit": 0, "disableOOMKiller": False}}, []),
        (
            {"cpu": {"shares": 1024, "quota": 5000, "period": 10000, "burst": 0, "idle": 1}},
            [
                ("cpu.weight", "100", "/cpu/shares"),
                ("cpu.max", "5000 10000", "/cpu/quota"),
                ("cpu.max.burst", "0", "/cpu/burst"),
                ("cpu.idle", "1", "/cpu/idle"),
            ],
        ),
        ({"cpu": {"quota": 5000}}, [("cpu.max", "5000 100000", "/cpu/quota")]),
        ({"cpu": {"quota": -1}}, [("cpu.max", "max 100000", "/cpu/quota")]),
        ({"cpu": {"period": 5000}}, [("cpu.max", "max 5000", "/cpu/period")]),
        (
            {"cpu": {"cpus": "0-1", "mems": "0"}},
            [("cpuset.cpus", "0-1", "/cpu/cpus"), ("cpuset.mems", "0", "/cpu/mems")],
        ),
        ({"pids": {"limit": -1}}, [("pids.max", "max", "/pids/limit")]),
        ({"pids": {"limit": 0}}, [("pids.max", "0", "/pids/limit")]),
        (
            {
                "blockIO": {
                    "weight": 500,
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 30}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 600}],
                    "throttleWriteBpsDevice": [{"major": 8, "minor": 2, "rate": 601}],
                    "throttleReadIOPSDevice": [{"major": 8, "minor": 3, "rate": 602}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 4, "rate": 0}],
                }
            },
            [
                ("io.bfq.weight", "500", "/blockIO/weight"),
                ("io.bfq.weight", "8:0 30", "/blockIO/weightDevice/0/weight"),
                ("io.max", "8:1 rbps=600", "/blockIO/throttleReadBpsDevice/0"),
                ("io.max", "8:2 wbps=601", "/blockIO/throttleWriteBpsDevice/0"),
                ("io.max", "8:3 riops=602", "/blockIO/throttleReadIOPSDevice/0"),
                ("io.max", "8:4 wiops=max", "/blockIO/throttleWriteIOPSDevice/0"),
            ],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
            [
                ("hugetlb.2MB.max", "9", "/hugepageLimits/0/limit"),
                ("hugetlb.2MB.rsvd.max", "9", "/hugepageLimits/0/limit"),
            ],
        ),
        (
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}}},
            [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10", "/rdma/mlx5_1")],
        ),
        (
            {
                "pids": {"limit": 7},
                "unified": {"pids.max": "8", "io.max": "8:0 rbps=1\n8:1 rbps=2"},
            },
            [
                ("pids.max", "7", "/pids/limit"),
                ("pids.max", "8", "/unified/pids.max"),
                ("io.max", "8:0 rbps=1", "/unified/io.max"),
                ("io.max", "8:1 rbps=2", "/unified/io.max"),
            ],
        ),
        (
            {"unified": {"cgroup.max.depth": "5", "misc.max": ""}},
            [
                ("cgroup.max.depth", "5", "/unified/cgroup.max.depth"),
                ("misc.max", "", "/unified/misc.max"),
            ],
        ),
    ],
)
def test_resources(resources: dict[str, Any], expected: list[tuple[str, str, str | None]]) -> None:
    assert written(resources) == expected


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"limit": 2000, "swap": 1000}}, "/memory/swap"),
        ({"memory": {"swap": 1000}}, "/memory/swap"),
        ({"memory": {"kernel": 1000}}, "/memory/kernel"),
        ({"memory": {"kernelTCP": 1000}}, "/memory/kernelTCP"),
        ({"memory": {"swappiness": 0}}, "/memory/swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "/memory/disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "/memory/useHierarchy"),
        ({"cpu": {"realtimeRuntime": 1}}, "/cpu/realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 1}}, "/cpu/realtimePeriod"),
        ({"blockIO": {"leafWeight": 10}}, "/blockIO/leafWeight"),
        (
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
            "/blockIO/weightDevice/0/leafWeight",
        ),
        ({"network": {"classID": 1}}, "/network/classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "/network/priorities"),
        ({"unified": {"../memory.max": "1"}}, "/unified/..~1memory.max"),
        ({"unified": {"memory": "1"}}, "/unified/memory"),
        ({"devices": [{"allow": True, "access": ""}]}, "/devices/0/access"),
    ],
)
def test_what_v2_does_not_have(resources: dict[str, Any], pointer: str) -> None:
    with pytest.raises(CgroupError) as caught:
        written(resources)
    assert caught.value.pointer == f"/linux/resources{pointer}"


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (3, 2), (256, 35), (512, 59), (1024, 100), (2048, 174), (262144, 10000)],
)
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


def test_weight_of_shares_grows() -> None:
    weights = [weight_of_shares(shares) for shares in range(2, 262145, 101)]
    assert weights == sorted(weights)
    assert 1 <= weights[0] <= weights[-1] <= 10000


@pytest.mark.parametrize(("weight", "expected"), [(1, 1), (10, 1), (500, 4950), (1000, 10000)])
def test_io_weight(weight: int, expected: int) -> None:
    assert io_weight(weight) == expected


def test_io_weight_is_used_without_bfq() -> None:
    resources = {"weight": 1000, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}
    writes = plan({"linux": {"resources": {"blockIO": resources}}}).writes
    others = [write.otherwise for write in writes if write.otherwise is not None]
    assert [(other.path.rpartition("/")[2], other.value) for other in others] == [
        ("io.weight", "default 10000"),
        ("io.weight", "8:0 1"),
    ]


@pytest.mark.parametrize(
    ("present", "value"), [(1000, "2000"), (-1, "3000")], ids=["limited", "unlimited"]
)
def test_swap_limit_goes_with_the_memory_limit_that_stands(present: int, value: str) -> None:
    compiler = V2Compiler({"": "/box"}, "")
    compiler.compile({"memory": {"swap": 3000}}, memory_limit=present)
    assert [(write.path, write.value) for write in compiler.writes] == [
        ("/box/memory.swap.max", value)
    ]


def test_device_rules_are_in_the_plan() -> None:
    rules = [{"allow": True, "type": "b", "major": 8, "access": "rw"}]
    result = plan({"linux": {"resources": {"devices": rules}}})
    assert result.devices is not None
    assert str(result.devices[0]) == "allow b 8:* rw"
    assert (
        "attach a device program to /sys/fs/cgroup/user.slice/box: allow b 8:* rw, "
        in (result.describe()[-1])
    )
    assert plan({}, rootless=True).devices is None
    assert plan({}, user_namespace=True).devices is None


MOUNT = {"source": "cgroup", "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"]}
MAPPING = {"containerID": 0, "hostID": 100000, "size": 65536}


@pytest.mark.parametrize(
    ("change", "owner"),
    [
        ({}, 100005),
        ({"mounts": [MOUNT | {"options": ["nosuid", "ro"]}]}, None),
        ({"mounts": [MOUNT | {"destination": "/sys/fs/cgroup/"}]}, 100005),
        ({"mounts": [MOUNT | {"source": "tmpfs"}]}, None),
        ({"mounts": []}, None),
        ({"linux": {"namespaces": [{"type": "user"}]}}, None),
        ({"linux": {"namespaces": [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]}}, None),
        ({"linux": {"namespaces": [{"type": "cgroup"}]}}, 5),
        ({"process": {"user": {"uid": 70000}}}, None),
        ({"process": None}, 100000),
    ],
)
def test_delegation(change: dict[str, Any], owner: int | None) -> None:
    config = {
        "mounts": [MOUNT],
        "process": {"user": {"uid": 5}},
        "linux": {
            "namespaces": [{"type": "cgroup"}, {"type": "user"}],
            "uidMappings": [MAPPING],
        },
    }
    result = plan(config | change)
    assert result.owner == owner
    delegations = [line for line in result.describe() if line.startswith("delegate")]
    assert len(delegations) == (owner is not None)


@pytest.mark.parametrize(
    ("path", "cgroup", "expected"),
    [
        ("/sys/fs/cgroup/a/box", "/a/box", "/sys/fs/cgroup/a/box"),
        ("/sys/fs/cgroup/a/box", "/a/box/init.scope", "/sys/fs/cgroup/a/box/init.scope"),
        ("/sys/fs/cgroup/a/box", "/box/init", "/sys/fs/cgroup/a/box/init"),
        ("/sys/fs/cgroup/a/box", "/a/boxer/init", "/sys/fs/cgroup/a/box"),
        ("/sys/fs/cgroup/a/box", "/elsewhere", "/sys/fs/cgroup/a/box"),
    ],
)
def test_place_of_a_process_below(path: str, cgroup: str, expected: str) -> None:
    assert place_below(path, cgroup) == expected


def test_pressure() -> None:
    text = (
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert pressure(text) == {
        "some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 12345},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 7},
    }
    assert pressure("") == {}


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ENODEV])
def test_a_cgroup_that_goes_while_it_is_killed(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd removes that of a scope whose last process ends."""

    def write(path: str, value: str) -> None:
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr("pyrunc.cgroups.v2.write_text", write)
    result = plan({"linux": {"cgroupsPath": "/box"}})
    result.paths[""] = str(tmp_path)
    Cgroup(result).kill(signal.SIGKILL)


def test_what_cannot_be_killed_for_another_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, value: str) -> None:
        raise OSError(errno.EACCES, "denied", path)

    monkeypatch.setattr("pyrunc.cgroups.v2.write_text", write)
    result = plan({"linux": {"cgroupsPath": "/box"}})
    result.paths[""] = str(tmp_path)
    with pytest.raises(CgroupError, match="kill"):
        Cgroup(result).kill(signal.SIGKILL)
