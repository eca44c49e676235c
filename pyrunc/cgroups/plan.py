"""Compile the cgroup part of a config to a `CgroupPlan`: where, and what is written there."""

from __future__ import annotations

from pyrunc.cgroups import paths as where
from pyrunc.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.cgroups.devices import DeviceRule
    from pyrunc.cgroups.files import CgroupWrite
    from pyrunc.cgroups.resources_v1 import V1Compiler
    from pyrunc.cgroups.resources_v2 import V2Compiler
    from pyrunc.cgroups.unit import Unit
    from pyrunc.host.facts import HostFacts

RESOURCES = "/linux/resources"


class CgroupPlan:
    """The cgroup of a container, as a value.

    Attributes:
        driver: "cgroupfs", "systemd" or "disabled".
        mode: "v1", "hybrid", "v2" or "none", as `HostFacts.cgroup_mode`.
        paths: the container's directory for each v1 hierarchy; "" is that of v2.
        writes: the values written to the files there, in order.
        devices: with v2, the rules that become a program; None for none.
        owner: with v2, the user id on the host to whom the cgroup is delegated; None for nobody.
        tolerant: what this process may not do is left undone. So it is for a rootless container
            that has not asked for a path; limits that it asks for are errors all the same.
        late: the first process has to be moved there by `Cgroup.join` once it exists: only that
            tells whether it may be there, or makes the cgroup. Then it is no longer so.
        unit: with systemd, the unit of the container.
        mount: mount point of the v2 hierarchy; "" without one.
    """

    def __init__(
        self,
        driver: str,
        mode: str,
        paths: Mapping[str, str],
        writes: list[CgroupWrite],
        *,
        devices: list[DeviceRule] | None = None,
        owner: int | None = None,
        tolerant: bool = False,
        late: bool | None = None,
        unit: Unit | None = None,
        mount: str = "",
    ) -> None:
        self.driver = driver
        self.mode = mode
        self.paths = dict(paths)
        self.writes = writes
        self.devices = devices
        self.owner = owner
        self.tolerant = tolerant
        self.late = tolerant or unit is not None if late is None else late
        self.unit = unit
        self.mount = mount

    @property
    def directories(self) -> list[str]:
        """The directories, each once: hierarchies mounted together share theirs."""
        return list(dict.fromkeys(self.paths.values()))

    def describe(self) -> list[str]:
        """One line for each thing that will be done, in order."""
        lines = [f"mkdir {path}" for path in self.directories]
        if self.unit is not None:
            lines = [str(self.unit)]
        if self.owner is not None:
            lines.append(f"delegate {self.paths['']} to user {self.owner}")
        lines += [str(write) for write in self.writes if write.early]
        lines += [f"join {path}" for path in self.directories]
        lines += [str(write) for write in self.writes if not write.early]
        if self.devices is not None:
            rules = ", ".join(map(str, self.devices))
            lines.append(f"attach a device program to {self.paths['']}: {rules}")
        return lines

    def to_state(self) -> dict[str, object]:
        """What `Cgroup.from_state` needs to find the cgroup again, for JSON."""
        return {
            "driver": self.driver,
            "mode": self.mode,
            "paths": self.paths,
            "tolerant": self.tolerant,
            "late": self.late,
            "unit": self.unit and self.unit.to_state(),
            "mount": self.mount,
        }


def compile_cgroup(
    config: dict[str, Any],
    container_id: str,
    facts: HostFacts,
    *,
    driver: str,
    rootless: bool,
) -> CgroupPlan:
    """Compile the cgroup of a container. Has no effect on the host.

    Args:
        config: a checked config.json.
        container_id: names the cgroup where `linux.cgroupsPath` does not.
        facts: of the host.
        driver: "cgroupfs", "systemd" or "disabled".
        rootless: the runtime has not the privileges of root over cgroups.

    Raises:
        CgroupError: with a pointer into config.json, for a resource that this host cannot limit
            or a value that cannot be.
    """
    linux = config.get("linux") or {}
    cgroups_path = linux.get("cgroupsPath") or ""
    where.check(cgroups_path, "/linux/cgroupsPath")
    mode = facts.cgroup_mode
    if driver == "disabled" or mode == "none":
        return _compile_none(linux, driver, mode, rootless)
    return _compile(config, container_id, facts, driver=driver, rootless=rootless)


def _compile_none(linux: dict[str, Any], driver: str, mode: str, rootless: bool) -> CgroupPlan:
    from pyrunc.cgroups.resources_v1 import V1Compiler

    reason = "cgroups are disabled" if driver == "disabled" else "no cgroup filesystem is mounted"
    if driver != "disabled" and not rootless:
        raise CgroupError(f"{reason} on this host")
    try:
        V1Compiler({}, RESOURCES).compile(linux.get("resources") or {}, update=False)
    except CgroupError as error:
        message = f"no limit can be set: {reason} (config.json: {error.pointer})"
        raise CgroupError(message, pointer=error.pointer) from None
    return CgroupPlan(driver, mode, {}, [])


def _compile(
    config: dict[str, Any],
    container_id: str,
    facts: HostFacts,
    *,
    driver: str,
    rootless: bool,
) -> CgroupPlan:
    from pyrunc.cgroups.devices import device_rules

    linux = config.get("linux") or {}
    resources = linux.get("resources") or {}
    cgroups_path = place = linux.get("cgroupsPath") or ""
    v2 = facts.cgroup_mode == "v2"
    # The kernel takes device rules only from one who is privileged in the initial user namespace.
    devices = None if rootless or facts.user_namespace else device_rules(linux, RESOURCES)
    unit = None
    if driver == "systemd":
        if rootless and not v2:
            raise CgroupError("the systemd driver without root needs cgroup v2; this host has v1")
        unit = _compile_unit(config, container_id, devices, user=rootless, v2=v2)
        place = (where.user_manager(facts) if rootless else "") + _scope_path(unit)
    compiler: V1Compiler | V2Compiler
    if v2:
        from pyrunc.cgroups.resources_v2 import V2Compiler

        paths = {"": where.v2_path(place, container_id, facts)}
        compiler = V2Compiler(paths, RESOURCES)
        compiler.compile(resources)
    else:
        from pyrunc.cgroups.resources_v1 import V1Compiler

        paths = where.v1_paths(place, container_id, facts)
        compiler = V1Compiler(paths, RESOURCES)
        compiler.compile(resources, update=False)
        if devices is not None:
            compiler.devices(devices)
    return CgroupPlan(
        driver,
        facts.cgroup_mode,
        paths,
        compiler.writes,
        devices=devices if v2 else None,
        owner=delegate_to(config) if v2 else None,
        tolerant=rootless and not cgroups_path and unit is None,
        unit=unit,
        mount=facts.cgroup_mounts.get("", ""),
    )


def _compile_unit(
    config: dict[str, Any],
    container_id: str,
    devices: list[DeviceRule] | None,
    *,
    user: bool,
    v2: bool,
) -> Unit:
    from pyrunc.cgroups import unit as units

    linux = config.get("linux") or {}
    slice_name, name = units.parse_path(linux.get("cgroupsPath") or "", container_id, user=user)
    resources = linux.get("resources") or {}
    properties = units.v2_properties(resources) if v2 else units.v1_properties(resources)
    if devices is not None:
        properties += units.device_properties(devices)
    properties += units.annotated(config.get("annotations") or {})
    return units.Unit(name, slice_name, user=user, properties=properties)


def _scope_path(unit: Unit) -> str:
    from pyrunc.cgroups.unit import slice_path

    return f"{slice_path(unit.slice)}/{unit.name}"


def delegate_to(config: dict[str, Any]) -> int | None:
    """Who is to own the container's cgroup, as a user id on the host; None for nobody else.

    That is the user of its process, if it sees the cgroup as the root of a cgroup namespace of
    its own and has it mounted writable. Source: config-linux.md, "Cgroup ownership".
    """
    linux = config.get("linux") or {}
    namespaces = {entry["type"]: entry.get("path") for entry in linux.get("namespaces") or ()}
    writable = any(
        mount.get("source") == "cgroup"
        and where.clean(mount["destination"]) == "/sys/fs/cgroup"
        and "ro" not in (mount.get("options") or ())
        for mount in config.get("mounts") or ()
    )
    if namespaces.get("cgroup", "none") or not writable:
        return None
    uid = int(((config.get("process") or {}).get("user") or {}).get("uid") or 0)
    if "user" not in namespaces:
        return uid
    for mapping in linux.get("uidMappings") or ():
        offset = uid - mapping["containerID"]
        if 0 <= offset < mapping["size"]:
            return int(mapping["hostID"] + offset)
    return None
