"""Statistics from the files of cgroup v1."""

from __future__ import annotations

import os

from pyrunc.cgroups.files import read_or_empty
from pyrunc.cgroups.stats import cpu_list, hugetlb_sizes, number, put, skeleton, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The block layer's statistics, best source first; the first that exists is used.
_BLOCK_SOURCES: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("sectorsRecursive", "blkio.bfq.sectors_recursive"),
        ("ioServiceTimeRecursive", "blkio.bfq.io_service_time_recursive"),
        ("ioWaitTimeRecursive", "blkio.bfq.io_wait_time_recursive"),
        ("ioMergedRecursive", "blkio.bfq.io_merged_recursive"),
        ("ioQueueRecursive", "blkio.bfq.io_queued_recursive"),
        ("ioTimeRecursive", "blkio.bfq.time_recursive"),
        ("ioServicedRecursive", "blkio.bfq.io_serviced_recursive"),
        ("ioServiceBytesRecursive", "blkio.bfq.io_service_bytes_recursive"),
    ),
    (
        ("ioServicedRecursive", "blkio.bfq.io_serviced_recursive"),
        ("ioServiceBytesRecursive", "blkio.bfq.io_service_bytes_recursive"),
    ),
    (
        ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
        ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
    ),
    (
        ("ioServicedRecursive", "blkio.throttle.io_serviced"),
        ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes"),
    ),
)

_NANOSECONDS_PER_TICK = 10**9 // os.sysconf("SC_CLK_TCK")


def v1_stats(paths: dict[str, str]) -> dict[str, Any]:
    """Statistics of a container.

    Args:
        paths: its directory in each hierarchy; what is missing there is not counted.
    """
    stats = skeleton()
    for controller, collect in _COLLECTORS.items():
        if controller in paths:
            collect(paths[controller], stats)
    return stats


def _cpu(path: str, stats: dict[str, Any]) -> None:
    counted = table(f"{path}/cpu.stat")
    throttling = stats["cpu"]["throttling"]
    put(throttling, "periods", counted.get("nr_periods"))
    put(throttling, "throttledPeriods", counted.get("nr_throttled"))
    put(throttling, "throttledTime", counted.get("throttled_time"))


def _cpuacct(path: str, stats: dict[str, Any]) -> None:
    usage = stats["cpu"]["usage"]
    put(usage, "total", number(f"{path}/cpuacct.usage"))
    percpu = read_or_empty(f"{path}/cpuacct.usage_percpu").split()
    put(usage, "percpu", [int(nanoseconds) for nanoseconds in percpu])
    # After the headline: CPU, user, system.
    rows = [line.split() for line in read_or_empty(f"{path}/cpuacct.usage_all").splitlines()[1:]]
    put(usage, "percpu_kernel", [int(row[2]) for row in rows])
    put(usage, "percpu_user", [int(row[1]) for row in rows])
    ticks = table(f"{path}/cpuacct.stat")
    usage["kernel"] = ticks.get("system", 0) * _NANOSECONDS_PER_TICK
    usage["user"] = ticks.get("user", 0) * _NANOSECONDS_PER_TICK


def _cpuset(path: str, stats: dict[str, Any]) -> None:
    cpuset = stats["cpuset"]
    for name in cpuset:
        cpuset[name] = number(f"{path}/cpuset.{name}")
    for name in ("cpus", "mems"):
        put(cpuset, name, cpu_list(read_or_empty(f"{path}/cpuset.{name}")))


def _memory(path: str, stats: dict[str, Any]) -> None:
    memory = stats["memory"]
    raw = table(f"{path}/memory.stat")
    put(memory, "cache", raw.get("cache"))
    put(memory, "raw", raw)
    for kind, prefix in (
        ("usage", "memory"),
        ("swap", "memory.memsw"),
        ("kernel", "memory.kmem"),
        ("kernelTCP", "memory.kmem.tcp"),
    ):
        entry = memory[kind]
        entry["limit"] = number(f"{path}/{prefix}.limit_in_bytes")
        put(entry, "usage", number(f"{path}/{prefix}.usage_in_bytes"))
        put(entry, "max", number(f"{path}/{prefix}.max_usage_in_bytes"))
        entry["failcnt"] = number(f"{path}/{prefix}.failcnt")


def _pids(path: str, stats: dict[str, Any]) -> None:
    put(stats["pids"], "current", number(f"{path}/pids.current"))
    limit = read_or_empty(f"{path}/pids.max").strip()
    put(stats["pids"], "limit", 0 if limit == "max" else int(limit or 0))


def _blkio(path: str, stats: dict[str, Any]) -> None:
    for source in _BLOCK_SOURCES:
        found = {key: _block_entries(f"{path}/{name}") for key, name in source}
        # The kernel leaves a file empty for a scheduler that is not in use.
        if found[source[0][0]]:
            for key, entries in found.items():
                put(stats["blkio"], key, entries)
            return


def _block_entries(path: str) -> list[dict[str, Any]]:
    entries = []
    for line in read_or_empty(path).splitlines():
        device, *operation, value = line.split()
        if device == "Total":
            continue
        major, _, minor = device.partition(":")
        entry: dict[str, Any] = {}
        put(entry, "major", int(major))
        put(entry, "minor", int(minor))
        put(entry, "op", "".join(operation))
        put(entry, "value", int(value))
        entries.append(entry)
    return entries


def _hugetlb(path: str, stats: dict[str, Any]) -> None:
    names = os.listdir(path)
    for size in hugetlb_sizes(names, "limit_in_bytes"):
        prefix = f"hugetlb.{size}.rsvd"
        if f"{prefix}.limit_in_bytes" not in names:
            prefix = f"hugetlb.{size}"
        entry: dict[str, Any] = {}
        put(entry, "usage", number(f"{path}/{prefix}.usage_in_bytes"))
        put(entry, "max", number(f"{path}/{prefix}.max_usage_in_bytes"))
        entry["failcnt"] = number(f"{path}/{prefix}.failcnt")
        stats["hugetlb"][size] = entry


_COLLECTORS = {
    "cpu": _cpu,
    "cpuacct": _cpuacct,
    "cpuset": _cpuset,
    "memory": _memory,
    "pids": _pids,
    "blkio": _blkio,
    "hugetlb": _hugetlb,
}
