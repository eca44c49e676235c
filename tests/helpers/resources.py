"""Each limit of `linux.resources`: a value, and what it comes to in cgroup v1 and v2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from helpers.bundle import Config

MIB = 1 << 20


class Refused(NamedTuple):
    """The limit cannot be had, whatever the kernel has: the error names `pointer`, below /linux/resources."""

    pointer: str


class Ignored(NamedTuple):
    """The limit has no effect here, and a warning says so."""

    pointer: str


class Resource(NamedTuple):
    """One limit.

    Attributes:
        name: as it is called in config.json, below /linux/resources.
        value: of `linux.resources`.
        v1: a line of each file; alternatives for the name of a file are separated by "|", and those for the
            line too if it depends on the file.
        v2: the same.
    """

    name: str
    value: Config
    v1: dict[str, str] | Refused | Ignored
    v2: dict[str, str] | Refused

    @property
    def controller(self) -> str:
        """The controller of v2 that has the files."""
        assert isinstance(self.v2, dict)
        return next(iter(self.v2)).partition(".")[0]


def block_device() -> tuple[int, int]:
    """Numbers of a disk of this host; (0, 0) if it has none."""
    for disk in sorted(Path("/sys/block").iterdir()):
        if (disk / "device").exists():
            major, minor = (disk / "dev").read_text().strip().split(":")
            return int(major), int(minor)
    return 0, 0


def resources() -> list[Resource]:
    """All of them."""
    major, minor = block_device()
    disk: dict[str, Any] = {"major": major, "minor": minor}
    name = f"{major}:{minor}"

    def memory(value: Config) -> Config:
        return {"memory": value}

    def cpu(value: Config) -> Config:
        return {"cpu": value}

    def throttle(key: str, v1: str, v2: str) -> Resource:
        limits = dict.fromkeys(("rbps", "wbps", "riops", "wiops"), "max") | {v2: "1048576"}
        line = " ".join(f"{word}={value}" for word, value in limits.items())
        return Resource(
            f"blockIO.{key}",
            {"blockIO": {key: [{**disk, "rate": MIB}]}},
            {f"blkio.throttle.{v1}_device": f"{name} {MIB}"},
            {"io.max": f"{name} {line}"},
        )

    return [
        Resource(
            "memory.limit",
            memory({"limit": 64 * MIB}),
            {"memory.limit_in_bytes": str(64 * MIB)},
            {"memory.max": str(64 * MIB)},
        ),
        Resource(
            "memory.reservation",
            memory({"reservation": 32 * MIB}),
            {"memory.soft_limit_in_bytes": str(32 * MIB)},
            {"memory.low": str(32 * MIB)},
        ),
        Resource(
            "memory.swap",
            memory({"limit": 64 * MIB, "swap": 96 * MIB}),
            {"memory.memsw.limit_in_bytes": str(96 * MIB)},
            {"memory.swap.max": str(32 * MIB)},
        ),
        Resource(
            "memory.kernel",
            memory({"kernel": 64 * MIB}),
            Ignored("memory/kernel"),
            Refused("memory/kernel"),
        ),
        Resource(
            "memory.kernelTCP",
            memory({"kernelTCP": 64 * MIB}),
            {"memory.kmem.tcp.limit_in_bytes": str(64 * MIB)},
            Refused("memory/kernelTCP"),
        ),
        Resource(
            "memory.swappiness",
            memory({"swappiness": 30}),
            {"memory.swappiness": "30"},
            Refused("memory/swappiness"),
        ),
        Resource(
            "memory.disableOOMKiller",
            memory({"disableOOMKiller": True}),
            {"memory.oom_control": "oom_kill_disable 1"},
            Refused("memory/disableOOMKiller"),
        ),
        Resource(
            "memory.useHierarchy",
            memory({"useHierarchy": False}),
            Refused("memory/useHierarchy"),
            Refused("memory/useHierarchy"),
        ),
        Resource("cpu.shares", cpu({"shares": 512}), {"cpu.shares": "512"}, {"cpu.weight": "59"}),
        Resource(
            "cpu.quota, cpu.period",
            cpu({"quota": 20000, "period": 50000}),
            {"cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "50000"},
            {"cpu.max": "20000 50000"},
        ),
        Resource(
            "cpu.burst",
            cpu({"quota": 20000, "period": 50000, "burst": 10000}),
            {"cpu.cfs_burst_us": "10000"},
            {"cpu.max.burst": "10000"},
        ),
        Resource("cpu.idle", cpu({"idle": 1}), {"cpu.idle": "1"}, {"cpu.idle": "1"}),
        Resource(
            "cpu.realtimeRuntime, cpu.realtimePeriod",
            cpu({"realtimeRuntime": 1000, "realtimePeriod": 900000}),
            {"cpu.rt_runtime_us": "1000", "cpu.rt_period_us": "900000"},
            Refused("cpu/realtime"),
        ),
        Resource("cpu.cpus", cpu({"cpus": "0"}), {"cpuset.cpus": "0"}, {"cpuset.cpus": "0"}),
        Resource("cpu.mems", cpu({"mems": "0"}), {"cpuset.mems": "0"}, {"cpuset.mems": "0"}),
        Resource("pids.limit", {"pids": {"limit": 17}}, {"pids.max": "17"}, {"pids.max": "17"}),
        Resource(
            "blockIO.weight",
            {"blockIO": {"weight": 500}},
            {"blkio.weight|blkio.bfq.weight": "500"},
            {"io.bfq.weight|io.weight": "default 500|default 4950"},
        ),
        Resource(
            "blockIO.leafWeight",
            {"blockIO": {"leafWeight": 500}},
            {"blkio.leaf_weight": "500"},
            Refused("blockIO/leafWeight"),
        ),
        Resource(
            "blockIO.weightDevice",
            {"blockIO": {"weightDevice": [{**disk, "weight": 500}]}},
            {"blkio.weight_device|blkio.bfq.weight_device": f"{name} 500"},
            {"io.bfq.weight|io.weight": f"{name} 500|{name} 4950"},
        ),
        throttle("throttleReadBpsDevice", "read_bps", "rbps"),
        throttle("throttleWriteBpsDevice", "write_bps", "wbps"),
        throttle("throttleReadIOPSDevice", "read_iops", "riops"),
        throttle("throttleWriteIOPSDevice", "write_iops", "wiops"),
        Resource(
            "hugepageLimits",
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
            {"hugetlb.2MB.limit_in_bytes": str(4 * MIB)},
            {"hugetlb.2MB.max": str(4 * MIB)},
        ),
        Resource(
            "network.classID",
            {"network": {"classID": 1048577}},
            {"net_cls.classid": "1048577"},
            Refused("network/classID"),
        ),
        Resource(
            "network.priorities",
            {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
            {"net_prio.ifpriomap": "lo 5"},
            Refused("network/priorities"),
        ),
        Resource(
            "rdma",
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}},
            {"rdma.max": "mlx5_1 hca_handle=3 hca_object=10000"},
            {"rdma.max": "mlx5_1 hca_handle=3 hca_object=10000"},
        ),
        Resource(
            "unified",
            {"unified": {"memory.high": str(48 * MIB), "pids.max": "19"}},
            Refused("unified"),
            {"memory.high": str(48 * MIB), "pids.max": "19"},
        ),
    ]


def lacking_device(resource: Resource) -> str:
    """What a limit needs beside a controller and this host has not; "" if nothing."""
    if "rdma" in resource.value and not os.path.isdir("/sys/class/infiniband"):
        return "this host has no RDMA device"
    if resource.name.endswith("Device") and block_device() == (0, 0):
        return "this host has no disk"
    return ""
