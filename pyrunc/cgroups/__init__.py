"""Control groups: v1, v2 and systemd behind one interface.

`compile_cgroup` turns a config into a `CgroupPlan`, a value; `Cgroup` carries it out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroups.cgroup import Cgroup
    from pyrunc.cgroups.files import CgroupWrite
    from pyrunc.cgroups.plan import CgroupPlan, compile_cgroup

__all__ = ["Cgroup", "CgroupPlan", "CgroupWrite", "compile_cgroup"]


def __getattr__(name: str) -> object:
    # Lazily: a command that only removes a cgroup need not load the compilers.
    if name == "Cgroup":
        from pyrunc.cgroups.cgroup import Cgroup

        return Cgroup
    if name == "CgroupWrite":
        from pyrunc.cgroups.files import CgroupWrite

        return CgroupWrite
    if name in ("CgroupPlan", "compile_cgroup"):
        from pyrunc.cgroups import plan

        return getattr(plan, name)
    raise AttributeError(name)
