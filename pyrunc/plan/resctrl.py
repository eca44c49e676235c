"""Compiles `linux.intelRdt` (config-linux.md, "Intel RDT") into what is to be written to resctrl."""

from __future__ import annotations

from pyrunc.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.facts import HostFacts

_POINTER = "/linux/intelRdt"


class ResctrlPlan:
    """What is to be done in resctrl.

    Attributes:
        mount: where resctrl is mounted.
        group: directory of the control group.
        must_exist: it is for others to make it.
        remove: it is removed with the container, if it was made for it.
        lines: what is written to its `schemata`, with the pointer of each.
        compared: those of them that one that exists already must have.
        monitor: directory of the monitoring group, or "".
    """

    def __init__(self, mount: str, group: str, *, must_exist: bool, remove: bool) -> None:
        self.mount = mount
        self.group = group
        self.must_exist = must_exist
        self.remove = remove
        self.lines: list[tuple[str, str]] = []
        self.compared: list[tuple[str, str]] = []
        self.monitor = ""

    @property
    def schemata(self) -> str:
        """What is written to the file of that name."""
        return "".join(f"{line}\n" for line, _ in self.lines)

    @property
    def tasks(self) -> list[str]:
        """The files that the pid is written to."""
        return [f"{group}/tasks" for group in (self.group, self.monitor) if group]

    def describe(self) -> list[str]:
        """One line for each step, for a person."""
        made = "must exist" if self.must_exist else "made unless it exists"
        lines = [f"group {self.group}: {made}{', removed at delete' if self.remove else ''}"]
        lines += [f"{self.group}/schemata must have {line!r}" for line, _ in self.compared]
        lines += [f"write {line!r} to {self.group}/schemata" for line, _ in self.lines]
        if self.monitor:
            lines.append(f"monitoring group {self.monitor}: made, removed at delete")
        lines += [f"write the pid to {tasks}" for tasks in self.tasks]
        return [f"{line}  ({_POINTER})" for line in lines]


def compile_resctrl(rdt: dict[str, Any], container_id: str, facts: HostFacts) -> ResctrlPlan:
    """Compile linux.intelRdt.

    Raises:
        HostError: no resctrl filesystem is mounted.
    """
    mount = facts.resctrl
    if not mount:
        why = "none is mounted: mount -t resctrl resctrl /sys/fs/resctrl"
        if "resctrl" not in facts.filesystems:
            why = "this kernel has none for this processor"
        raise HostError.asked_by(_POINTER, f"Intel RDT needs a resctrl filesystem, and {why}")
    wanted = schema_lines(rdt)
    clos = rdt.get("closID") or ""
    group = f"{mount}/{clos or container_id}" if clos != "/" else mount
    plan = ResctrlPlan(mount, group, must_exist=bool(clos) and not wanted, remove=not clos)
    plan.lines = wanted
    if clos:
        plan.compared = [line for line in wanted if not line[1].startswith(_POINTER + "/schemata")]
    if rdt.get("enableMonitoring"):
        plan.monitor = f"{group}/mon_groups/{container_id}"
    return plan


def schema_lines(rdt: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines for `schemata`, in the order of the specification, with the pointer of each."""
    lines = []
    bandwidth = rdt.get("memBwSchema")
    # before 1.3 a line of bandwidth was allowed in here too, and memBwSchema came before it
    for line in (rdt.get("l3CacheSchema") or "").split("\n"):
        if line and not (bandwidth and line.lstrip().startswith("MB:")):
            lines.append((line, _POINTER + "/l3CacheSchema"))
    if bandwidth:
        lines.append((bandwidth, _POINTER + "/memBwSchema"))
    for index, line in enumerate(rdt.get("schemata") or ()):
        lines.append((line, f"{_POINTER}/schemata/{index}"))
    return lines
