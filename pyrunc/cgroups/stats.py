"""Parts of the statistics that v1 and v2 have in common.

The shape is that of the `data` of runc's `events --stats` (its types/events.go), with the same
members left out when they are 0 or empty. Times are in nanoseconds, sizes in bytes.
"""

from __future__ import annotations

from pyrunc.cgroups.files import read_or_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_LIMIT = 2**64 - 1  # how runc writes "max"


def skeleton() -> dict[str, Any]:
    """Statistics in which nothing has been counted."""
    return {
        "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
        "cpuset": {
            "cpu_exclusive": 0,
            "mem_hardwall": 0,
            "mem_exclusive": 0,
            "memory_migrate": 0,
            "memory_spread_page": 0,
            "memory_spread_slab": 0,
            "memory_pressure": 0,
            "sched_load_balance": 0,
            "sched_relax_domain_level": 0,
        },
        "memory": {
            kind: {"limit": 0, "failcnt": 0} for kind in ("usage", "swap", "kernel", "kernelTCP")
        },
        "pids": {},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def put(target: dict[str, Any], key: str, value: object) -> None:
    """Set a member unless the value is 0 or empty."""
    if value:
        target[key] = value


def number(path: str) -> int:
    """The number in a file; 0 if there is no such file; NO_LIMIT for "max"."""
    text = read_or_empty(path).strip()
    return NO_LIMIT if text == "max" else int(text or 0)


def table(path: str) -> dict[str, int]:
    """A file of "name number" lines; empty if there is no such file."""
    numbers = {}
    for line in read_or_empty(path).splitlines():
        name, _, value = line.partition(" ")
        try:
            numbers[name] = int(value)
        except ValueError:
            continue  # vendors' kernels have lines with several numbers
    return numbers


def cpu_list(text: str) -> list[int]:
    """The numbers of a list such as "0-3,7" (cpuset(7), "List format")."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def hugetlb_sizes(names: list[str], suffix: str) -> list[str]:
    """The page sizes for which a directory with these file names has limits."""
    sizes = [name.split(".")[1] for name in names if name.startswith("hugetlb.")]
    return sorted({size for size in sizes if f"hugetlb.{size}.{suffix}" in names})
