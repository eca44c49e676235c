"""`linux.resources` as writes to the files of cgroup v2.

The spec has the terms of v1. What v2 has under other terms is converted, as runc does it; what it
does not have at all is an error, as the spec demands.

Sources: runtime-spec config-linux.md, "Unified"; the kernel's admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from pyrunc.cgroups.resources import Compiler, check, escape, rdma_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PERIOD = 100000  # microseconds; the kernel's

# What only v1 has: section, key, why not; each matters unless it is 0, false or empty.
_V1_ONLY = (
    ("memory", "disableOOMKiller", "the OOM killer cannot be disabled"),
    ("cpu", "realtimeRuntime", "there is no real-time bandwidth"),
    ("cpu", "realtimePeriod", "there is no real-time bandwidth"),
    ("blockIO", "leafWeight", "there are no leaf weights"),
    ("network", "classID", "there is no net_cls controller"),
    ("network", "priorities", "there is no net_prio controller"),
)

_THROTTLE = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)

_HINTS = {
    "cpu.max": "a quota is at least 1 ms, and a period is 1 ms to 1 s",
    "cpu.max.burst": "a burst is at most the quota",
    "cpu.weight": "an idle cgroup has no weight",
    "cpuset.cpus": "they must be CPUs of this host",
    "cpuset.mems": "they must be memory nodes of this host",
    "io.max": "the block device must exist",
    "rdma.max": "the RDMA device must exist",
}


class V2Compiler(Compiler):
    """The writes for v2."""

    hints = _HINTS

    def put(self, name: str, value: object, key: str, **options: Any) -> None:
        """`add`, for the one hierarchy that there is."""
        self.add("", name, value, key, **options)

    def compile(self, resources: dict[str, Any], *, memory_limit: int = 0) -> None:
        """Add the writes for everything but the device rules.

        Args:
            resources: the object of config-linux.md.
            memory_limit: what limits memory already, in bytes; -1 for nothing, 0 for unknown.
        """
        check(resources, self)
        for section, key, reason in _V1_ONLY:
            if (resources.get(section) or {}).get(key):
                raise self.wrong(f"cgroup v2: {reason}", f"{section}/{key}")
        self._memory(resources.get("memory") or {}, memory_limit)
        self._cpu(resources.get("cpu") or {})
        pids = (resources.get("pids") or {}).get("limit")
        if pids is not None:
            self.put("pids.max", limit_text(pids), "pids/limit")
        self._block_io(resources.get("blockIO") or {})
        for index, limit in enumerate(resources.get("hugepageLimits") or ()):
            prefix = f"hugetlb.{limit['pageSize']}"
            key = f"hugepageLimits/{index}/limit"
            self.put(f"{prefix}.max", int(limit["limit"]), key)
            self.put(f"{prefix}.rsvd.max", int(limit["limit"]), key, optional=True)
        for device, value in rdma_lines(resources):
            self.put("rdma.max", value, f"rdma/{escape(device)}")
        self._unified(resources.get("unified") or {})

    def _memory(self, memory: dict[str, Any], present: int) -> None:
        for key in ("kernel", "kernelTCP"):
            if (memory.get(key) or -1) > 0:
                raise self.wrong("cgroup v2: kernel memory has no limit", f"memory/{key}")
        if memory.get("swappiness") is not None:
            raise self.wrong("cgroup v2: there is no swappiness", "memory/swappiness")
        if memory.get("useHierarchy") is False:
            message = "cgroup v2: memory is always accounted hierarchically"
            raise self.wrong(message, "memory/useHierarchy")
        limit = memory.get("limit") or 0
        swap = self._swap(limit, memory.get("swap") or 0, present)
        if swap is not None:
            # Without swap accounting there is no swap to be had, and no limit to be kept.
            optional = swap in ("0", "max")
            key = "swap" if memory.get("swap") else "limit"
            self.put("memory.swap.max", swap, f"memory/{key}", optional=optional)
        if limit:
            self.put("memory.max", limit_text(limit), "memory/limit")
        if memory.get("reservation"):
            self.put("memory.low", limit_text(memory["reservation"]), "memory/reservation")

    def _swap(self, limit: int, both: int, present: int) -> str | None:
        """The limit of swap alone, when `both` limits memory+swap; None for nothing to write."""
        if both < 0 or (not both and limit < 0):
            return "max"
        if not both:
            return None
        limit = limit or present
        if limit < 0:
            return str(int(both))
        if not limit:
            message = "cgroup v2: a limit of memory+swap needs a limit of memory"
            raise self.wrong(message, "memory/swap")
        if both < limit:
            message = f"the limit of memory+swap, {both}, is less than that of memory, {limit}"
            raise self.wrong(message, "memory/swap")
        return str(int(both) - int(limit))

    def _cpu(self, cpu: dict[str, Any]) -> None:
        if cpu.get("shares"):
            self.put("cpu.weight", weight_of_shares(cpu["shares"]), "cpu/shares")
        quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
        if quota or period:
            value = f"{limit_text(quota or -1)} {int(period) or DEFAULT_PERIOD}"
            self.put("cpu.max", value, "cpu/quota" if quota else "cpu/period")
        for key, name in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
            if cpu.get(key) is not None:
                self.put(name, int(cpu[key]), f"cpu/{key}")
        for key in ("cpus", "mems"):
            if cpu.get(key):
                self.put(f"cpuset.{key}", cpu[key], f"cpu/{key}")

    def _block_io(self, block: dict[str, Any]) -> None:
        weight = block.get("weight")
        if weight:
            # BFQ, which may be a module, has the range of the spec; the cost model has another.
            other = ("io.weight", f"default {io_weight(weight)}")
            self.put("io.bfq.weight", int(weight), "blockIO/weight", otherwise=other)
        for index, entry in enumerate(block.get("weightDevice") or ()):
            key = f"blockIO/weightDevice/{index}"
            if entry.get("leafWeight"):
                raise self.wrong("cgroup v2: there are no leaf weights", f"{key}/leafWeight")
            weight = entry.get("weight")
            if weight:
                device = f"{int(entry['major'])}:{int(entry['minor'])}"
                other = ("io.weight", f"{device} {io_weight(weight)}")
                value = f"{device} {int(weight)}"
                self.put("io.bfq.weight", value, f"{key}/weight", otherwise=other)
        for name, limit in _THROTTLE:
            for index, entry in enumerate(block.get(name) or ()):
                rate = int(entry["rate"]) or "max"  # in v1 a rate of 0 takes the limit away
                value = f"{int(entry['major'])}:{int(entry['minor'])} {limit}={rate}"
                self.put("io.max", value, f"blockIO/{name}/{index}")

    def _unified(self, unified: dict[str, str]) -> None:
        for name, value in unified.items():
            key = f"unified/{escape(name)}"
            if "/" in name or "\0" in name or "." not in name.strip("."):
                message = f"{name!r} is not a file of cgroup v2: those are CONTROLLER.PARAMETER"
                raise self.wrong(message, key)
            # The kernel reads one line a write.
            for line in value.splitlines() or [value]:
                self.put(name, line, key)


def limit_text(value: int) -> str:
    """A limit as v2 has it: "max" for what v1 has as -1."""
    return "max" if value < 0 else str(int(value))


def weight_of_shares(shares: int) -> int:
    """`cpu.weight` (1 to 10000) for CPU shares (2 to 262144).

    The curve that runc 1.4 and crun 1.23 use goes through the three points that have a meaning:
    the minima, the maxima, and the defaults, 1024 shares and weight 100. (The straight line between
    minima and maxima, which they used before, made 39 of the default.)
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    import math  # few configurations need it

    level = math.log2(shares)
    # Without the rounding, 1024 shares would be at the mercy of the last bit.
    return math.ceil(round(10 ** ((level * level + 125 * level) / 612 - 7 / 34), 9))


def io_weight(weight: int) -> int:
    """`io.weight` (1 to 10000) for a block I/O weight (10 to 1000), linearly as runc and crun."""
    return max(1, 1 + (int(weight) - 10) * 9999 // 990)
