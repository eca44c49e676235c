"""`linux.resources` as writes to the files of cgroup v1.

A value of 0 means "not set" where 0 is no limit the kernel could keep; runc reads it so as well.
Sources: runtime-spec config-linux.md; the kernel's Documentation/admin-guide/cgroup-v1.
"""

from __future__ import annotations

from pyrunc.cgroups.devices import DevicePolicy
from pyrunc.cgroups.resources import Compiler, check, escape, rdma_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.devices import DeviceRule

# (section, key, controller, file, whether zero is a value)
_NUMBERS = (
    ("memory", "reservation", "memory", "memory.soft_limit_in_bytes", False),
    ("memory", "kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", False),
    ("memory", "swappiness", "memory", "memory.swappiness", True),
    ("cpu", "shares", "cpu", "cpu.shares", False),
    ("cpu", "period", "cpu", "cpu.cfs_period_us", False),
    ("cpu", "quota", "cpu", "cpu.cfs_quota_us", False),
    ("cpu", "burst", "cpu", "cpu.cfs_burst_us", True),
    ("cpu", "idle", "cpu", "cpu.idle", True),
    ("network", "classID", "net_cls", "net_cls.classid", False),
)

# Real-time bandwidth is set before a real-time process may join.
_REALTIME = (
    ("realtimePeriod", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu.rt_runtime_us"),
)

_THROTTLE = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)

_HINTS = {
    "memory.kmem.tcp.limit_in_bytes": "it cannot be limited on this kernel",
    "memory.kmem.limit_in_bytes": "kernel memory has no limit of its own since Linux 5.16",
    "memory.use_hierarchy": "since Linux 5.11 memory is always accounted hierarchically",
    "cpu.cfs_quota_us": "a quota is at least 1 ms and at most what the parent cgroup has",
    "cpu.cfs_period_us": "a period is 1 ms to 1 s",
    "cpu.cfs_burst_us": "a burst is at most the quota",
    "cpu.rt_runtime_us": "the parent cgroup must have that much real-time bandwidth left",
    "cpuset.cpus": "they must be among those of the parent cgroup",
    "cpuset.mems": "they must be among those of the parent cgroup",
    "net_prio.ifpriomap": "the interface must exist in the runtime's network namespace",
    "rdma.max": "the RDMA device must exist",
}


class V1Compiler(Compiler):
    """The writes for v1."""

    hints = _HINTS

    def compile(self, resources: dict[str, Any], *, update: bool) -> None:
        """Add the writes for everything but the device rules.

        Args:
            resources: the object of config-linux.md.
            update: the cgroup is in use, and values may stand in it that are not the defaults.
        """
        if resources.get("unified"):
            raise self.wrong("unified resources need cgroup v2, and this host has v1", "unified")
        check(resources, self)
        self._cpuset(resources.get("cpu") or {})
        self._memory(resources.get("memory") or {}, update=update)
        for section, key, controller, name, zero in _NUMBERS:
            value = (resources.get(section) or {}).get(key)
            if value or (zero and value is not None):
                self.add(controller, name, int(value), f"{section}/{key}")
        for key, name in _REALTIME:
            value = (resources.get("cpu") or {}).get(key)
            if value:
                self.add("cpu", name, int(value), f"cpu/{key}", early=True)
        pids = (resources.get("pids") or {}).get("limit")
        if pids is not None:
            self.add("pids", "pids.max", "max" if pids < 0 else int(pids), "pids/limit")
        self._block_io(resources.get("blockIO") or {})
        for index, limit in enumerate(resources.get("hugepageLimits") or ()):
            prefix = f"hugetlb.{limit['pageSize']}"
            key = f"hugepageLimits/{index}/limit"
            value = int(limit["limit"])
            self.add("hugetlb", f"{prefix}.limit_in_bytes", value, key)
            self.add("hugetlb", f"{prefix}.rsvd.limit_in_bytes", value, key, optional=True)
        for index, entry in enumerate((resources.get("network") or {}).get("priorities") or ()):
            value = f"{entry['name']} {int(entry['priority'])}"
            self.add("net_prio", "net_prio.ifpriomap", value, f"network/priorities/{index}")
        for device, value in rdma_lines(resources):
            self.add("rdma", "rdma.max", value, f"rdma/{escape(device)}")

    def _cpuset(self, cpu: dict[str, Any]) -> None:
        for key in ("cpus", "mems"):
            if cpu.get(key):
                self.add("cpuset", f"cpuset.{key}", cpu[key], f"cpu/{key}", early=True)

    def _memory(self, memory: dict[str, Any], *, update: bool) -> None:
        limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
        if memory.get("useHierarchy") is not None:
            value = int(memory["useHierarchy"])
            self.add("memory", "memory.use_hierarchy", value, "memory/useHierarchy", early=True)
        if memory.get("kernel"):
            # Each cgroup starts without a limit; kernels that have no such limit refuse even that.
            unlimited = memory["kernel"] < 0
            if not unlimited or update:
                name = "memory.kmem.limit_in_bytes"
                value = int(memory["kernel"])
                self.add("memory", name, value, "memory/kernel", optional=unlimited, early=True)
        if limit < 0 < swap:
            message = "cgroup v1: memory+swap cannot be limited where memory is not"
            raise self.wrong(message, "memory/swap")
        if limit:
            self.add("memory", "memory.limit_in_bytes", int(limit), "memory/limit")
        if swap:
            self.add("memory", "memory.memsw.limit_in_bytes", int(swap), "memory/swap")
        elif limit < 0:
            name = "memory.memsw.limit_in_bytes"
            self.add("memory", name, -1, "memory/limit", optional=True)
        disable = memory.get("disableOOMKiller")
        if disable or (update and disable is not None):
            self.add("memory", "memory.oom_control", int(disable), "memory/disableOOMKiller")

    def _block_io(self, block: dict[str, Any]) -> None:
        if block.get("weight"):
            # CFQ's file, gone since Linux 5.0 but in some vendors' kernels, then BFQ's.
            self.add(
                "blkio",
                "blkio.weight",
                int(block["weight"]),
                "blockIO/weight",
                otherwise=("blkio.bfq.weight", int(block["weight"])),
            )
        if block.get("leafWeight"):
            self.add("blkio", "blkio.leaf_weight", int(block["leafWeight"]), "blockIO/leafWeight")
        for index, entry in enumerate(block.get("weightDevice") or ()):
            device = f"{int(entry['major'])}:{int(entry['minor'])}"
            key = f"blockIO/weightDevice/{index}"
            if entry.get("weight") is not None:
                self.add(
                    "blkio",
                    "blkio.weight_device",
                    f"{device} {int(entry['weight'])}",
                    f"{key}/weight",
                    otherwise=("blkio.bfq.weight_device", f"{device} {int(entry['weight'])}"),
                )
            if entry.get("leafWeight") is not None:
                value = f"{device} {int(entry['leafWeight'])}"
                self.add("blkio", "blkio.leaf_weight_device", value, f"{key}/leafWeight")
        for name, file in _THROTTLE:
            for index, entry in enumerate(block.get(name) or ()):
                value = f"{int(entry['major'])}:{int(entry['minor'])} {int(entry['rate'])}"
                self.add("blkio", file, value, f"blockIO/{name}/{index}")

    def devices(self, rules: list[DeviceRule]) -> None:
        """Add the writes that bring a new cgroup to device rules.

        Raises CgroupError for wrong rules, and where the controller is missing: a container must
        not run without the rules it relies on.
        """
        policy = DevicePolicy.of(rules)
        fresh = DevicePolicy()
        fresh.allow_by_default = True
        for allow, value in fresh.transition(policy):
            name = "devices.allow" if allow else "devices.deny"
            self.add("devices", name, value, "devices")
