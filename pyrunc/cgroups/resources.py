"""What compiling `linux.resources` for v1 and for v2 has in common."""

from __future__ import annotations

from pyrunc.cgroups.files import CgroupWrite, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.errors import CgroupError


class Compiler:
    """Collects the writes for one `resources` object.

    Args:
        paths: the cgroup's directory in each hierarchy.
        base: JSON pointer of the `resources` object.
    """

    hints: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, paths: dict[str, str], base: str) -> None:
        self.paths = paths
        self.base = base
        self.writes: list[CgroupWrite] = []

    def add(
        self,
        controller: str,
        name: str,
        value: object,
        key: str,
        *,
        otherwise: tuple[str, object] | None = None,
        optional: bool = False,
        early: bool = False,
    ) -> None:
        """Add a write of `value` to the file `name`, asked for by `key` below the base.

        `otherwise` is a file, and its value, for a kernel that does not have the first one.

        Raises CgroupError where the controller is not mounted.
        """
        pointer = f"{self.base}/{key}"
        directory = self.paths.get(controller)
        if directory is None:
            raise refuse(f"cgroup controller {controller} is not mounted", pointer)
        other = otherwise and CgroupWrite(f"{directory}/{otherwise[0]}", str(otherwise[1]), pointer)
        self.writes.append(
            CgroupWrite(
                f"{directory}/{name}",
                str(value),
                pointer,
                otherwise=other,
                optional=optional,
                early=early,
                hint=self.hints.get(name, ""),
            )
        )

    def wrong(self, message: str, key: str) -> CgroupError:
        """An error for a value that no kernel would take."""
        return refuse(message, f"{self.base}/{key}")


def check(resources: dict[str, Any], compiler: Compiler) -> None:
    """Raises CgroupError for values that contradict the spec or each other, in v1 and v2 alike."""
    cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
    quota, burst = cpu.get("quota") or 0, cpu.get("burst") or 0
    if 0 < quota < burst:
        raise compiler.wrong(f"burst {burst} is more than the quota, {quota}", "cpu/burst")
    shares = cpu.get("shares") or 0
    if shares and not 2 <= shares <= 262144:
        raise compiler.wrong(f"{shares} CPU shares are not between 2 and 262144", "cpu/shares")
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        message = f"the limit of memory+swap, {swap}, is less than that of memory, {limit}"
        raise compiler.wrong(message, "memory/swap")
    swappiness = memory.get("swappiness")
    if swappiness is not None and not 0 <= swappiness <= 100:
        message = f"swappiness {swappiness} is not between 0 and 100"
        raise compiler.wrong(message, "memory/swappiness")


def rdma_lines(resources: dict[str, Any]) -> list[tuple[str, str]]:
    """For each RDMA device, what is written to rdma.max (the same in v1 and v2)."""
    lines = []
    for device, entry in (resources.get("rdma") or {}).items():
        line = device
        for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if entry.get(key) is not None:
                line += f" {name}={int(entry[key])}"
        lines.append((device, line))
    return lines


def escape(token: str) -> str:
    """A key as a reference token of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")
