"""Change the limits of a cgroup in use."""

from __future__ import annotations

import os

from pyrunc.cgroups.devices import DevicePolicy, device_rules
from pyrunc.cgroups.files import (
    CgroupWrite,
    failure,
    read_or_empty,
    read_text,
    refuse,
    write_all,
    write_one,
)
from pyrunc.cgroups.resources_v1 import V1Compiler
from pyrunc.cgroups.resources_v2 import V2Compiler
from pyrunc.errors import PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.cgroups.plan import CgroupPlan
    from pyrunc.host.facts import HostFacts


def update_v1(
    plan: CgroupPlan, resources: dict[str, Any], also: Callable[[], None] | None = None
) -> None:
    """`Cgroup.update` for v1. `also` is as for `write_or_restore`."""
    compiler = V1Compiler(plan.paths, "")
    compiler.compile(resources, update=True)
    if resources.get("devices") is not None:
        _transition(compiler, plan.paths.get("devices"), resources)
    write_or_restore(compiler.writes, also)


def update_v2(
    plan: CgroupPlan,
    resources: dict[str, Any],
    facts: HostFacts,
    also: Callable[[], None] | None = None,
) -> None:
    """`Cgroup.update` for v2. `also` is as for `write_or_restore`."""
    path = plan.paths.get("", "")
    resources = completed(path, resources)
    compiler = V2Compiler(plan.paths, "")
    limit = _number(read_or_empty(f"{path}/memory.max").strip() or "0")
    compiler.compile(resources, memory_limit=limit)
    check_usage(path, resources.get("memory") or {})
    if resources.get("devices") is None or facts.user_namespace:
        write_or_restore(compiler.writes, also)
        return
    from pyrunc.cgroups.filters import DeviceProgram

    with DeviceProgram(device_rules({"resources": resources}, ""), "/devices") as program:
        write_or_restore(compiler.writes, also)
        program.attach(path)


def completed(path: str, resources: dict[str, Any]) -> dict[str, Any]:
    """`resources` with what stands in the files, where v2 has one value for two of the spec."""
    cpu = resources.get("cpu") or {}
    if cpu.get("period") and not cpu.get("quota"):
        quota = read_or_empty(f"{path}/cpu.max").split() or ["max"]
        resources = resources | {"cpu": cpu | {"quota": _number(quota[0])}}
    elif cpu.get("quota") and not cpu.get("period"):
        period = read_or_empty(f"{path}/cpu.max").split()[1:] or ["0"]
        resources = resources | {"cpu": cpu | {"period": int(period[0])}}
    return resources


def _number(text: str) -> int:
    return -1 if text == "max" else int(text)


def check_usage(path: str, memory: dict[str, Any]) -> None:
    """Refuse a limit below the usage, if asked to: v2 would kill processes to keep it.

    Source: config-linux.md, `checkBeforeUpdate`. Raises CgroupError.
    """
    if not memory.get("checkBeforeUpdate"):
        return
    usage = int(read_or_empty(f"{path}/memory.current") or 0)
    for key, name in (("swap", "memory+swap"), ("limit", "memory")):
        limit = memory.get(key) or 0
        if 0 < limit <= usage:
            message = f"a limit of {name} of {limit} bytes is less than what is in use, {usage}"
            raise refuse(message, f"/memory/{key}")


def _transition(compiler: V1Compiler, path: str | None, resources: dict[str, Any]) -> None:
    if path is None:
        raise refuse("the container has no devices cgroup", "/devices")
    target = DevicePolicy.of(device_rules({"resources": resources}, ""))
    try:
        current = DevicePolicy.from_list(read_text(f"{path}/devices.list"))
    except OSError as error:
        raise failure(f"read {path}/devices.list", error, "/devices") from error
    for allow, value in current.transition(target):
        compiler.add("devices", "devices.allow" if allow else "devices.deny", value, "devices")


def write_or_restore(writes: list[CgroupWrite], also: Callable[[], None] | None = None) -> None:
    """Perform writes, or, when one fails, set back what those before it changed.

    `also` is done after them and may write the same files, less exactly; so they are written once
    more after it.

    Raises PyruncError, about the first failure.
    """
    before = [restoring(write) for write in writes]
    try:
        write_all(writes)
        if also is not None:
            also()
            write_all(writes)
    except PyruncError:
        undone = [write for write in reversed(before) if write is not None]
        # Twice, because values that depend on each other may have to change in another order.
        for write in undone + undone:
            try:
                write_one(write)
            except OSError:
                continue
        raise


def restoring(write: CgroupWrite) -> CgroupWrite | None:
    """A write that brings a file back to what it says now; None if nothing can be told."""
    directory, _, name = write.path.rpartition("/")
    if name in ("devices.allow", "devices.deny"):
        # What the entry changes is what the opposite entry takes back.
        other = "devices.deny" if name == "devices.allow" else "devices.allow"
        if write.value.startswith("a"):
            return None
        return CgroupWrite(f"{directory}/{other}", write.value, None)
    if write.otherwise is not None and not os.path.exists(write.path):
        write = write.otherwise
        name = write.path.rpartition("/")[2]
    value = former_value(name, read_or_empty(write.path), write.value)
    return None if value is None else CgroupWrite(write.path, value, None)


# Files with a line for each device: what is written for one that has no line.
_NO_LINE = {
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "blkio.bfq.weight_device": "default",
    "blkio.weight_device": "0",
    "blkio.leaf_weight_device": "0",
    "net_prio.ifpriomap": "0",
    "rdma.max": "hca_handle=max hca_object=max",
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
}


def former_value(name: str, now: str, value: str) -> str | None:
    """What to write to the file `name` to undo `value`, when the file reads `now`."""
    if name == "memory.oom_control":
        return now.split()[1] if now else None
    if name in _NO_LINE:
        key = value.split(maxsplit=1)[0] if " " in value else "default"
        for line in now.splitlines():
            if line.split()[0] == key:
                return line
        return f"{key} {_NO_LINE[name]}" if now or ":" in value else None
    return now.strip() or None
