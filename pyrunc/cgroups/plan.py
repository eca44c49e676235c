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
    ) -> None:
        self.driver = driver
        self.mode = mode
        self.paths = dict(paths)
        self.writes = writes
        self.devices = devices
        self.owner = owner
        self.tolerant = tolerant

    @property
    def directories(self) -> list[str]:
        """The directories, each once: hierarchies mounted together share theirs."""
        return list(dict.fromkeys(self.paths.values()))

    def describe(self) -> list[str]:
        """One line for each thing that will be done, in order."""
        lines = [f"mkdir {path}" for path in self.directories]
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
    if driver == "systemd":
        raise CgroupError("the systemd driver is not supported yet")
    if mode == "v2":
        return _compile_v2(config, cgroups_path, container_id, facts, rootless=rootless)
    return _compile_v1(linux, cgroups_path, container_id, facts, rootless=rootless)


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


def _compile_v1(
    linux: dict[str, Any],
    cgroups_path: str,
    container_id: str,
    facts: HostFacts,
    *,
    rootless: bool,
) -> CgroupPlan:
    from pyrunc.cgroups.resources_v1 import V1Compiler

    paths = where.v1_paths(cgroups_path, container_id, facts)
    compiler = V1Compiler(paths, RESOURCES)
    compiler.compile(linux.get("resources") or {}, update=False)
    # The kernel takes device rules only from one who is privileged in the initial user namespace.
    if not (rootless or facts.user_namespace):
        compiler.devices(linux)
    tolerant = rootless and not cgroups_path
    return CgroupPlan("cgroupfs", facts.cgroup_mode, paths, compiler.writes, tolerant=tolerant)


def _compile_v2(
    config: dict[str, Any],
    cgroups_path: str,
    container_id: str,
    facts: HostFacts,
    *,
    rootless: bool,
) -> CgroupPlan:
    from pyrunc.cgroups.devices import device_rules
    from pyrunc.cgroups.resources_v2 import V2Compiler

    linux = config.get("linux") or {}
    paths = {"": where.v2_path(cgroups_path, container_id, facts)}
    compiler = V2Compiler(paths, RESOURCES)
    compiler.compile(linux.get("resources") or {})
    devices = device_rules(linux, RESOURCES)
    return CgroupPlan(
        "cgroupfs",
        "v2",
        paths,
        compiler.writes,
        devices=None if rootless or facts.user_namespace else devices,
        owner=delegate_to(config),
        tolerant=rootless and not cgroups_path,
    )


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
