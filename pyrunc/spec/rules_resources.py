"""The rules of linux.resources in config.json (config-linux.md, Control groups).

What depends on the version of cgroups of the host is left to `pyrunc.cgroups`.
"""

from __future__ import annotations

from pyrunc.spec.rules_linux import is_interface_name
from pyrunc.spec.words import entries, escape, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Add = Callable[[str, str], None]

_AT = "/linux/resources"
_U32 = 0xFFFFFFFF


def _resources(config: dict[str, Any], add: Add) -> None:
    resources = config.get("linux", {}).get("resources")
    if resources:
        resource_rules(resources, _AT, add)


def resource_rules(resources: dict[str, Any], at: str, add: Add) -> None:
    """Apply the rules of a resources document, whose pointer is `at`."""
    _devices(resources, at + "/devices", add)
    _memory(resources.get("memory", {}), at + "/memory", add)
    _cpu(resources.get("cpu", {}), at + "/cpu", add)
    if resources.get("pids", {}).get("limit", 0) < -1:
        add(at + "/pids/limit", "must be -1 (no limit), or from 0")
    if block := resources.get("blockIO"):
        _block_io(block, at + "/blockIO", add)
    for i, entry in entries(resources.get("network", {}).get("priorities")):
        if not is_interface_name(entry["name"]):
            add(f"{at}/network/priorities/{i}/name", "expected the name of a network device")
    for name, entry in resources.get("rdma", {}).items():
        if "hcaHandles" not in entry and "hcaObjects" not in entry:
            add(f"{at}/rdma/{escape(name)}", "expected hcaHandles, hcaObjects or both")
    for name in resources.get("unified", {}):
        if "/" in name or "." not in name.strip("."):
            add(
                f"{at}/unified/{escape(name)}",
                "expected a file of a cgroup, CONTROLLER.PARAMETER without slashes",
            )


def _devices(resources: dict[str, Any], at: str, add: Add) -> None:
    for i, rule in entries(resources.get("devices")):
        if rule.get("type", "") not in ("", "a", "b", "c"):
            add(f"{at}/{i}/type", "expected a (all), b (block) or c (character)")
        access = rule.get("access", "")
        if not access or access.strip("rwm"):
            add(f"{at}/{i}/access", f"expected some of r, w and m, not {quoted(access)}")
        for name in ("major", "minor"):
            if not -1 <= rule.get(name, -1) <= _U32:
                add(f"{at}/{i}/{name}", f"must be -1 (all), or from 0 to {_U32}")


def _memory(memory: dict[str, Any], at: str, add: Add) -> None:
    for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        if memory.get(name, 0) < -1:
            add(f"{at}/{name}", "must be -1 (no limit), or a number of bytes")
    if memory.get("swappiness", 0) > 100:
        add(at + "/swappiness", "must be from 0 to 100")
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if swap > 0 and limit > swap:
        add(at + "/swap", f"limits memory and swap together, so must not be below limit, {limit}")


def _cpu(cpu: dict[str, Any], at: str, add: Add) -> None:
    quota = cpu.get("quota", 0)
    if 0 < quota < cpu.get("burst", 0):
        add(at + "/burst", f"must not be above quota, {quota}")
    if cpu.get("idle", 0) not in (0, 1):
        add(at + "/idle", "must be 0 or 1")


def _block_io(block: dict[str, Any], at: str, add: Add) -> None:
    weighed = [(at, block)]
    for i, device in entries(block.get("weightDevice")):
        here = f"{at}/weightDevice/{i}"
        weighed.append((here, device))
        if "weight" not in device and "leafWeight" not in device:
            add(here, "expected weight, leafWeight or both")
        _numbers(device, here, add)
    for where, entry in weighed:
        for name in ("weight", "leafWeight"):
            # 0 takes a weight away.
            if entry.get(name, 0) and not 10 <= entry[name] <= 1000:
                add(f"{where}/{name}", "must be from 10 to 1000")
    for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"):
        name = f"throttle{what}Device"
        for i, device in entries(block.get(name)):
            if "rate" not in device:
                add(f"{at}/{name}/{i}/rate", "required, and missing")
            _numbers(device, f"{at}/{name}/{i}", add)


def _numbers(device: dict[str, Any], at: str, add: Add) -> None:
    for name in ("major", "minor"):
        if not 0 <= device[name] <= _U32:
            add(f"{at}/{name}", f"must be from 0 to {_U32}")


RULES = (((), _resources),)
