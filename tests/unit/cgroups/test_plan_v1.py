"""The plan of a cgroup v1 container: where its directories are and what is written there."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.cgroups import CgroupPlan, compile_cgroup
from pyrunc.errors import CgroupError
from pyrunc.host.facts import HostFacts

ROOT = "/sys/fs/cgroup"
_V1 = "cpuset devices memory cpu cpuacct pids blkio hugetlb net_cls net_prio perf_event freezer"
CONTROLLERS = (*_V1.split(), "rdma")


def host(**facts: Any) -> HostFacts:
    mounts = {name: f"{ROOT}/{name}" for name in CONTROLLERS}
    mounts |= {"cpu": f"{ROOT}/cpu,cpuacct", "cpuacct": f"{ROOT}/cpu,cpuacct"}
    mounts["name=systemd"] = f"{ROOT}/systemd"
    known: dict[str, Any] = {
        "cgroup_mode": "v1",
        "cgroup_mounts": mounts,
        "cgroup_own": dict.fromkeys(mounts, "/user/own"),
        "user_namespace": False,
    }
    return HostFacts(**(known | facts))


def plan(
    linux: dict[str, Any] | None = None, *, rootless: bool = False, **facts: Any
) -> CgroupPlan:
    config = {} if linux is None else {"linux": linux}
    return compile_cgroup(config, "box", host(**facts), driver="cgroupfs", rootless=rootless)


def written(resources: dict[str, Any], **facts: Any) -> list[tuple[str, str, str | None]]:
    """(file below /sys/fs/cgroup with the container's directory left out, value, pointer)."""
    result = plan({"cgroupsPath": "/box", "resources": resources}, **facts)
    return [
        (
            write.path.removeprefix(ROOT).replace("/box", ""),
            write.value,
            write.pointer and write.pointer.removeprefix("/linux/resources"),
        )
        for write in result.writes
        if not write.path.startswith(f"{ROOT}/devices/")
    ]


def device_entries(linux: dict[str, Any]) -> list[str]:
    return [
        f"{write.path.rpartition('.')[2]} {write.value}"
        for write in plan(linux).writes
        if write.path.startswith(f"{ROOT}/devices/")
    ]


@pytest.mark.parametrize(
    ("cgroups_path", "expected"),
    [
        ("/a/b", "/a/b"),
        ("/a/../../b", "/b"),
        ("a/b", "/user/own/a/b"),
        ("../../a", "/user/own/a"),
        ("", "/user/own/box"),
        ("system.slice:docker:1", "/user/own/system.slice:docker:1"),
    ],
)
def test_cgroups_path(cgroups_path: str, expected: str) -> None:
    paths = plan({"cgroupsPath": cgroups_path}).paths
    assert paths["memory"] == f"{ROOT}/memory{expected}"
    assert paths["name=systemd"] == f"{ROOT}/systemd{expected}"


def test_without_linux_section_the_default_path_is_used() -> None:
    assert plan().paths["pids"] == f"{ROOT}/pids/user/own/box"


def test_hierarchies_mounted_together_are_one_directory() -> None:
    result = plan({"cgroupsPath": "/a"})
    assert result.paths["cpu"] == result.paths["cpuacct"] == f"{ROOT}/cpu,cpuacct/a"
    assert result.directories.count(f"{ROOT}/cpu,cpuacct/a") == 1


def test_v2_beside_v1_is_joined() -> None:
    mounts = host().cgroup_mounts | {"": f"{ROOT}/unified"}
    result = plan({"cgroupsPath": "/a"}, cgroup_mode="hybrid", cgroup_mounts=mounts)
    assert result.paths[""] == f"{ROOT}/unified/a"


@pytest.mark.parametrize("path", ["/a\nb", "/a\0b"])
def test_path_that_no_cgroup_can_have(path: str) -> None:
    with pytest.raises(CgroupError) as caught:
        plan({"cgroupsPath": path})
    assert caught.value.pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            {"memory": {"limit": 1000, "swap": 2000, "reservation": 500}},
            [
                ("/memory/memory.limit_in_bytes", "1000", "/memory/limit"),
                ("/memory/memory.memsw.limit_in_bytes", "2000", "/memory/swap"),
                ("/memory/memory.soft_limit_in_bytes", "500", "/memory/reservation"),
            ],
        ),
        (
            {"memory": {"limit": -1}},
            [
                ("/memory/memory.limit_in_bytes", "-1", "/memory/limit"),
                ("/memory/memory.memsw.limit_in_bytes", "-1", "/memory/limit"),
            ],
        ),
        (
            {"memory": {"kernel": 7, "kernelTCP": 8, "swappiness": 0, "disableOOMKiller": True}},
            [
                ("/memory/memory.kmem.limit_in_bytes", "7", "/memory/kernel"),
                ("/memory/memory.oom_control", "1", "/memory/disableOOMKiller"),
                ("/memory/memory.kmem.tcp.limit_in_bytes", "8", "/memory/kernelTCP"),
                ("/memory/memory.swappiness", "0", "/memory/swappiness"),
            ],
        ),
        ({"memory": {"limit": 0, "kernel": -1, "disableOOMKiller": False}}, []),
        (
            {"memory": {"useHierarchy": True}},
            [("/memory/memory.use_hierarchy", "1", "/memory/useHierarchy")],
        ),
        (
            {"cpu": {"shares": 512, "quota": 5000, "period": 10000, "burst": 0, "idle": 1}},
            [
                ("/cpu,cpuacct/cpu.shares", "512", "/cpu/shares"),
                ("/cpu,cpuacct/cpu.cfs_period_us", "10000", "/cpu/period"),
                ("/cpu,cpuacct/cpu.cfs_quota_us", "5000", "/cpu/quota"),
                ("/cpu,cpuacct/cpu.cfs_burst_us", "0", "/cpu/burst"),
                ("/cpu,cpuacct/cpu.idle", "1", "/cpu/idle"),
            ],
        ),
        ({"cpu": {"quota": -1}}, [("/cpu,cpuacct/cpu.cfs_quota_us", "-1", "/cpu/quota")]),
        (
            {"cpu": {"realtimeRuntime": 95, "realtimePeriod": 100, "cpus": "0-1", "mems": "0"}},
            [
                ("/cpuset/cpuset.cpus", "0-1", "/cpu/cpus"),
                ("/cpuset/cpuset.mems", "0", "/cpu/mems"),
                ("/cpu,cpuacct/cpu.rt_period_us", "100", "/cpu/realtimePeriod"),
                ("/cpu,cpuacct/cpu.rt_runtime_us", "95", "/cpu/realtimeRuntime"),
            ],
        ),
        ({"pids": {"limit": 5}}, [("/pids/pids.max", "5", "/pids/limit")]),
        ({"pids": {"limit": 0}}, [("/pids/pids.max", "0", "/pids/limit")]),
        ({"pids": {"limit": -1}}, [("/pids/pids.max", "max", "/pids/limit")]),
        (
            {
                "blockIO": {
                    "weight": 10,
                    "leafWeight": 20,
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 30, "leafWeight": 40}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 600}],
                    "throttleWriteBpsDevice": [{"major": 8, "minor": 2, "rate": 601}],
                    "throttleReadIOPSDevice": [{"major": 8, "minor": 3, "rate": 602}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 4, "rate": 0}],
                }
            },
            [
                ("/blkio/blkio.weight", "10", "/blockIO/weight"),
                ("/blkio/blkio.leaf_weight", "20", "/blockIO/leafWeight"),
                ("/blkio/blkio.weight_device", "8:0 30", "/blockIO/weightDevice/0/weight"),
                (
                    "/blkio/blkio.leaf_weight_device",
                    "8:0 40",
                    "/blockIO/weightDevice/0/leafWeight",
                ),
                (
                    "/blkio/blkio.throttle.read_bps_device",
                    "8:1 600",
                    "/blockIO/throttleReadBpsDevice/0",
                ),
                (
                    "/blkio/blkio.throttle.write_bps_device",
                    "8:2 601",
                    "/blockIO/throttleWriteBpsDevice/0",
                ),
                (
                    "/blkio/blkio.throttle.read_iops_device",
                    "8:3 602",
                    "/blockIO/throttleReadIOPSDevice/0",
                ),
                (
                    "/blkio/blkio.throttle.write_iops_device",
                    "8:4 0",
                    "/blockIO/throttleWriteIOPSDevice/0",
                ),
            ],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
            [
                ("/hugetlb/hugetlb.2MB.limit_in_bytes", "0", "/hugepageLimits/0/limit"),
                ("/hugetlb/hugetlb.2MB.rsvd.limit_in_bytes", "0", "/hugepageLimits/0/limit"),
            ],
        ),
        (
            {"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]}},
            [
                ("/net_cls/net_cls.classid", "1048577", "/network/classID"),
                ("/net_prio/net_prio.ifpriomap", "eth0 500", "/network/priorities/0"),
            ],
        ),
        (
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "a/b~": {"hcaObjects": 1}}},
            [
                ("/rdma/rdma.max", "mlx5_1 hca_handle=3 hca_object=10", "/rdma/mlx5_1"),
                ("/rdma/rdma.max", "a/b~ hca_object=1", "/rdma/a~1b~0"),
            ],
        ),
        ({}, []),
    ],
)
def test_resources(resources: dict[str, Any], expected: list[tuple[str, str, str | None]]) -> None:
    assert written(resources) == expected


def test_block_weight_falls_back_to_bfq() -> None:
    resources = {"blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1}]}}
    writes = plan({"resources": resources}).writes
    fallbacks = [write.otherwise.path.rpartition("/")[2] for write in writes if write.otherwise]
    assert fallbacks == ["blkio.bfq.weight", "blkio.bfq.weight_device"]


def test_only_these_are_written_before_a_process_joins() -> None:
    everything = {
        "memory": {"limit": 1, "swap": 1, "kernel": 1, "useHierarchy": True},
        "cpu": {"shares": 2, "cpus": "0", "mems": "0", "realtimeRuntime": 1, "realtimePeriod": 2},
        "pids": {"limit": 1},
    }
    writes = plan({"resources": everything}).writes
    assert {write.path.rpartition("/")[2] for write in writes if write.early} == {
        "cpuset.cpus",
        "cpuset.mems",
        "cpu.rt_runtime_us",
        "cpu.rt_period_us",
        "memory.kmem.limit_in_bytes",
        "memory.use_hierarchy",
    }


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"limit": 2000, "swap": 1000}}, "/memory/swap"),
        ({"memory": {"limit": -1, "swap": 1000}}, "/memory/swap"),
        ({"memory": {"swappiness": 101}}, "/memory/swappiness"),
        ({"cpu": {"shares": 1}}, "/cpu/shares"),
        ({"cpu": {"shares": 262145}}, "/cpu/shares"),
        ({"cpu": {"quota": 5, "burst": 6}}, "/cpu/burst"),
        ({"unified": {"memory.max": "1"}}, "/unified"),
        ({"devices": [{"allow": True, "type": "u", "access": "r"}]}, "/devices/0/type"),
        ({"devices": [{"allow": True, "access": "rx"}]}, "/devices/0/access"),
        ({"devices": [{"allow": True}]}, "/devices/0/access"),
        ({"devices": [{"allow": True, "access": "r", "major": -2}]}, "/devices/0/major"),
    ],
)
def test_wrong_values(resources: dict[str, Any], pointer: str) -> None:
    with pytest.raises(CgroupError) as caught:
        written(resources)
    assert caught.value.pointer == f"/linux/resources{pointer}"
    assert f"config.json: /linux/resources{pointer}" in str(caught.value)


@pytest.mark.parametrize(
    ("resources", "controller", "pointer"),
    [
        ({"memory": {"limit": 1}}, "memory", "/memory/limit"),
        ({"pids": {"limit": 1}}, "pids", "/pids/limit"),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]},
            "hugetlb",
            "/hugepageLimits/0/limit",
        ),
        ({}, "devices", "/devices"),
    ],
)
def test_controller_that_is_not_mounted(
    resources: dict[str, Any], controller: str, pointer: str
) -> None:
    mounts = host().cgroup_mounts
    del mounts[controller]
    with pytest.raises(CgroupError, match=f"controller {controller} is not mounted") as caught:
        written(resources, cgroup_mounts=mounts)
    assert caught.value.pointer == f"/linux/resources{pointer}"


def test_controller_that_is_not_mounted_and_not_asked_for() -> None:
    mounts = host().cgroup_mounts
    del mounts["hugetlb"]
    assert "hugetlb" not in plan({}, cgroup_mounts=mounts).paths


DEFAULTS = [
    "allow c *:* m",
    "allow b *:* m",
    "allow c 1:3 rwm",
    "allow c 1:8 rwm",
    "allow c 1:7 rwm",
    "allow c 5:0 rwm",
    "allow c 1:5 rwm",
    "allow c 1:9 rwm",
    "allow c 136:* rwm",
    "allow c 5:2 rwm",
    "allow c 10:200 rwm",
]


def test_devices_without_rules() -> None:
    assert device_entries({}) == ["deny a *:* rwm", *DEFAULTS]


def test_rules_of_the_config_come_first_and_in_their_order() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8, "access": "rw"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
    ]
    assert device_entries({"resources": {"devices": rules}}) == [
        "deny a *:* rwm",
        "allow c 10:229 rwm",
        "allow b 8:* rw",
        "allow c 1:3 rwm",  # together with the default rule
        *(entry for entry in DEFAULTS if "c 1:3 " not in entry),
    ]


def test_everything_allowed() -> None:
    rules = [{"allow": True, "access": "rwm"}]
    assert device_entries({"resources": {"devices": rules}}) == ["allow a *:* rwm"]


def test_default_device_configured_otherwise_has_no_default_rule() -> None:
    devices = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
    assert "allow c 1:3 rwm" not in device_entries({"devices": devices})


def test_rootless_leaves_device_rules_out() -> None:
    assert [w for w in plan({}, rootless=True).writes if "devices" in w.path] == []
    assert [w for w in plan({}, user_namespace=True).writes if "devices" in w.path] == []


@pytest.mark.parametrize(
    ("rootless", "cgroups_path", "tolerant"),
    [(True, "", True), (True, "/a", False), (False, "", False)],
)
def test_tolerance(rootless: bool, cgroups_path: str, tolerant: bool) -> None:
    assert plan({"cgroupsPath": cgroups_path}, rootless=rootless).tolerant is tolerant


def test_describe_is_in_the_order_of_execution() -> None:
    linux = {"cgroupsPath": "/a", "resources": {"cpu": {"cpus": "0"}, "pids": {"limit": 9}}}
    lines = plan(linux, cgroup_mounts={n: f"{ROOT}/{n}" for n in ("cpuset", "pids", "devices")})
    described = [line for line in lines.describe() if "/devices/" not in line]
    assert described == [
        "mkdir /sys/fs/cgroup/cpuset/a",
        "mkdir /sys/fs/cgroup/pids/a",
        "write '0' to /sys/fs/cgroup/cpuset/a/cpuset.cpus",
        "join /sys/fs/cgroup/cpuset/a",
        "join /sys/fs/cgroup/pids/a",
        "write '9' to /sys/fs/cgroup/pids/a/pids.max",
    ]


def disabled(linux: dict[str, Any], **options: Any) -> CgroupPlan:
    arguments = {"driver": "disabled", "rootless": False} | options
    return compile_cgroup({"linux": linux}, "box", host(cgroup_mode="none"), **arguments)


def test_disabled_has_no_cgroup() -> None:
    result = disabled({"resources": {"devices": [{"allow": False, "access": "rwm"}]}})
    assert (result.paths, result.writes) == ({}, [])


@pytest.mark.parametrize("driver", ["disabled", "cgroupfs"])
def test_limit_without_cgroups(driver: str) -> None:
    with pytest.raises(CgroupError) as caught:
        disabled({"resources": {"pids": {"limit": 1}}}, driver=driver, rootless=True)
    assert caught.value.pointer == "/linux/resources/pids/limit"


def test_root_needs_cgroups() -> None:
    with pytest.raises(CgroupError, match="no cgroup filesystem is mounted"):
        disabled({}, driver="cgroupfs")
    assert disabled({}, driver="cgroupfs", rootless=True).paths == {}
