"""The plan: what will be done, as a value."""

from __future__ import annotations

from pyrunc.plan.operations import namespace_names, triples
from pyrunc.spec.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.plan import CgroupPlan
    from pyrunc.plan.operation import Operation
    from pyrunc.plan.resctrl import ResctrlPlan

MAGIC = b"PYC1"


class Plan:
    """What will be done to create a container or to run a process in one.

    Attributes:
        operations: what the init does, in order.
        spawn_flags: CLONE_NEW* of the process that does it.
        unshare_flags: CLONE_NEW* that it makes for itself before it is sent the plan.
        cgroup: the cgroup that it is put into.
        preserve_fds: number of descriptors from 3 on that the program keeps.
        uid_mappings, gid_mappings: container id, host id, size, one after another.
        time_offsets: linux.timeOffsets.
        net_devices: linux.netDevices.
        resctrl: groups of resctrl (linux.intelRdt), or None.
        hard_limits: {resource: hard limit} that the runtime has to allow, because the process itself could not.
        oom_score_adj: score to write for the process, or None.
    """

    def __init__(self, operations: list[Operation], cgroup: CgroupPlan) -> None:
        self.operations = operations
        self.spawn_flags = 0
        self.unshare_flags = 0
        self.cgroup = cgroup
        self.preserve_fds = 0
        self.uid_mappings: list[int] = []
        self.gid_mappings: list[int] = []
        self.time_offsets: dict[str, Any] = {}
        self.net_devices: dict[str, Any] = {}
        self.resctrl: ResctrlPlan | None = None
        self.hard_limits: dict[int, int] = {}
        self.oom_score_adj: int | None = None

    def encode(self) -> bytes:
        """The operations as the init reads them."""
        return b"".join(
            [
                MAGIC,
                len(self.operations).to_bytes(4, "little"),
                *[operation.encode() for operation in self.operations],
            ]
        )

    def describe(self) -> list[str]:
        """One line for each thing that will be done, on the host and in the container."""
        lines = [f"cgroup: {line}" for line in self.cgroup.describe()]
        if self.resctrl is not None:
            lines += [f"resctrl: {line}" for line in self.resctrl.describe()]
        if self.oom_score_adj is not None:
            lines.append(f"host: oom_score_adj {self.oom_score_adj}  (/process/oomScoreAdj)")
        for kind, ids in (("uid", self.uid_mappings), ("gid", self.gid_mappings)):
            if ids:
                lines.append(f"host: {kind}s {triples(ids)}  (/linux/{kind}Mappings)")
        for clock, offset in self.time_offsets.items():
            seconds, nanoseconds = offset.get("secs") or 0, offset.get("nanosecs") or 0
            lines.append(
                f"host: {clock} clock {seconds:+} s {nanoseconds} ns  (/linux/timeOffsets/{clock})"
            )
        for name, device in self.net_devices.items():
            pointer = f"/linux/netDevices/{escape(name)}"
            new_name = device.get("name") or name
            lines.append(f"host: move network device {name}, as {new_name}  ({pointer})")
        flags = self.spawn_flags | self.unshare_flags
        lines.append(f"spawn: pyrunc-init in new namespaces: {namespace_names(flags)}")
        width = len(str(len(self.operations)))
        for index, operation in enumerate(self.operations):
            pointer = f"  ({operation.pointer})" if operation.pointer else ""
            lines.append(f"{index:{width}}: {operation.describe()}{pointer}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON document."""
        return {
            "cgroup": self.cgroup.describe(),
            "resctrl": self.resctrl.describe() if self.resctrl else [],
            "oomScoreAdj": self.oom_score_adj,
            "uidMappings": self.uid_mappings,
            "gidMappings": self.gid_mappings,
            "timeOffsets": self.time_offsets,
            "netDevices": self.net_devices,
            "namespaces": self.spawn_flags | self.unshare_flags,
            "preserveFds": self.preserve_fds,
            "operations": [operation.to_json() for operation in self.operations],
        }
