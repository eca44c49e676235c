"""Statistics from the files of cgroup v2, in the terms of v1 where runc has them so."""

from __future__ import annotations

import os

from pyrunc.cgroups.files import read_or_empty
from pyrunc.cgroups.stats import NO_LIMIT, hugetlb_sizes, number, put, skeleton, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Member of io.stat: where v1 would count it, and under which operation.
_IO_COUNTERS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def v2_stats(path: str) -> dict[str, Any]:
    """Statistics of a container.

    Args:
        path: its directory; what is missing there is not counted. "" for none.
    """
    stats = skeleton()
    if not path:
        return stats
    _cpu(path, stats["cpu"])
    _memory(path, stats["memory"])
    put(stats["pids"], "current", number(f"{path}/pids.current"))
    limit = number(f"{path}/pids.max")
    put(stats["pids"], "limit", 0 if limit == NO_LIMIT else limit)
    _io(path, stats["blkio"])
    _hugetlb(path, stats["hugetlb"])
    for section, resource in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        put(stats[section], "psi", pressure(read_or_empty(f"{path}/{resource}.pressure")))
    return stats


def _cpu(path: str, cpu: dict[str, Any]) -> None:
    counted = table(f"{path}/cpu.stat")  # microseconds
    put(cpu["usage"], "total", counted.get("usage_usec", 0) * 1000)
    cpu["usage"]["kernel"] = counted.get("system_usec", 0) * 1000
    cpu["usage"]["user"] = counted.get("user_usec", 0) * 1000
    put(cpu["throttling"], "periods", counted.get("nr_periods"))
    put(cpu["throttling"], "throttledPeriods", counted.get("nr_throttled"))
    put(cpu["throttling"], "throttledTime", counted.get("throttled_usec", 0) * 1000)


def _memory(path: str, memory: dict[str, Any]) -> None:
    raw = table(f"{path}/memory.stat")
    put(memory, "cache", raw.get("file"))
    put(memory, "raw", raw)
    usage = number(f"{path}/memory.current")
    limit = number(f"{path}/memory.max")
    swap_usage = number(f"{path}/memory.swap.current")
    swap_limit = number(f"{path}/memory.swap.max")
    memory["usage"]["limit"] = limit
    put(memory["usage"], "usage", usage)
    put(memory["usage"], "max", number(f"{path}/memory.peak"))
    # In v1 the limit of swap includes that of memory.
    memory["swap"]["limit"] = swap_limit if swap_limit == NO_LIMIT else swap_limit + limit
    put(memory["swap"], "usage", swap_usage + usage)


def _io(path: str, blkio: dict[str, Any]) -> None:
    for line in read_or_empty(f"{path}/io.stat").splitlines():
        device, *counters = line.split()
        major, _, minor = device.partition(":")
        for counter in counters:
            name, _, value = counter.partition("=")
            if name not in _IO_COUNTERS:
                continue
            table_name, operation = _IO_COUNTERS[name]
            entry: dict[str, Any] = {}
            put(entry, "major", int(major))
            put(entry, "minor", int(minor))
            put(entry, "op", operation)
            put(entry, "value", int(value))
            blkio.setdefault(table_name, []).append(entry)


def _hugetlb(path: str, hugetlb: dict[str, Any]) -> None:
    names = os.listdir(path)
    for size in hugetlb_sizes(names, "max"):
        prefix = f"hugetlb.{size}.rsvd"
        if f"{prefix}.current" not in names:
            prefix = f"hugetlb.{size}"
        entry: dict[str, Any] = {}
        put(entry, "usage", number(f"{path}/{prefix}.current"))
        entry["failcnt"] = table(f"{path}/hugetlb.{size}.events").get("max", 0)
        hugetlb[size] = entry


def pressure(text: str) -> dict[str, Any]:
    """A file of pressure stall information (the kernel's accounting/psi.rst).

    Averages are in percent, totals in microseconds.
    """
    lines = {}
    for line in text.splitlines():
        kind, *members = line.split()
        values = dict(member.split("=", 1) for member in members)
        lines[kind] = {
            name: int(value) if name == "total" else float(value) for name, value in values.items()
        }
    none = {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}
    return {kind: lines.get(kind, none) for kind in ("some", "full")} if lines else {}
