"""The rules of the linux section of config.json (config-linux.md), apart from its resources."""

from __future__ import annotations

from pyrunc.spec.words import entries, escape, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Add = Callable[[str, str], None]

_ABSOLUTE = "must be an absolute path"
_U32 = 0xFFFFFFFF
#: A process has at most so many ranges in its uid_map (user_namespaces(7)).
_MAX_RANGES = 340
#: Device numbers have 12 bits for the major and 20 for the minor one.
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1
#: What the largest cpuset holds that glibc and runc know (CPU_SETSIZE).
_MAX_LISTED = 1023
_DIGITS = "0123456789"


def namespaces(config: dict[str, Any]) -> dict[str, str]:
    """Return type -> path ("" for a new one) of the namespaces that are asked for."""
    listed = config.get("linux", {}).get("namespaces")
    return {entry["type"]: entry.get("path", "") for _, entry in entries(listed)}


def _namespaces(config: dict[str, Any], add: Add) -> None:
    seen = set()
    for i, entry in entries(config.get("linux", {}).get("namespaces")):
        if entry["type"] in seen:
            add(f"/linux/namespaces/{i}/type", f"the {entry['type']} namespace is there twice")
        seen.add(entry["type"])
        path = entry.get("path")
        if path and path[0] != "/":
            add(f"/linux/namespaces/{i}/path", _ABSOLUTE)


def _mappings(config: dict[str, Any], add: Add) -> None:
    linux = config.get("linux", {})
    user = namespaces(config).get("user")
    for name in ("uidMappings", "gidMappings"):
        at = "/linux/" + name
        ranges = linux.get(name)
        if ranges:
            if user is None:
                add(at, "needs a user namespace in /linux/namespaces")
            mapping(ranges, at, add)
        if user == "":
            if not ranges:
                add(at, "required for a new user namespace")
            elif not any(r["containerID"] == 0 and r["size"] for _, r in entries(ranges)):
                add(at, "must map id 0 of the container, with which it is set up")


def mapping(ranges: list[dict[str, Any]], at: str, add: Add) -> None:
    """Apply what the kernel asks of the ranges of an id mapping (user_namespaces(7))."""
    if len(ranges) > _MAX_RANGES:
        add(at, f"must not have more than {_MAX_RANGES} ranges")
        return
    taken: dict[str, list[tuple[int, int]]] = {"containerID": [], "hostID": []}
    for i, entry in entries(ranges):
        size = entry["size"]
        if not size:
            add(f"{at}/{i}/size", "must be at least 1")
            continue
        for side, others in taken.items():
            first, last = entry[side], entry[side] + size - 1
            if last >= _U32:
                add(f"{at}/{i}/size", f"the range from {side} {first} ends after {_U32 - 1}")
            if any(first <= end and start <= last for start, end in others):
                add(f"{at}/{i}/{side}", "the range overlaps with an earlier one")
            others.append((first, last))


def _time(config: dict[str, Any], add: Add) -> None:
    offsets = config.get("linux", {}).get("timeOffsets")
    if not offsets:
        return
    path = namespaces(config).get("time")
    if path is None:
        add("/linux/timeOffsets", "needs a time namespace in /linux/namespaces")
    elif path:
        add("/linux/timeOffsets", "needs a new time namespace; one that is joined keeps its own")
    for clock, offset in offsets.items():
        if clock not in ("monotonic", "boottime"):
            add(
                f"/linux/timeOffsets/{escape(clock)}",
                "there is no such clock; there are monotonic and boottime",
            )
        elif offset.get("nanosecs", 0) > 999_999_999:
            add(f"/linux/timeOffsets/{clock}/nanosecs", "must be below 1000000000")


def _devices(config: dict[str, Any], add: Add) -> None:
    for i, device in entries(config.get("linux", {}).get("devices")):
        at = f"/linux/devices/{i}"
        if device["path"][:1] != "/":
            add(at + "/path", _ABSOLUTE)
        if device["type"] == "p":
            continue
        for name, limit in (("major", _MAX_MAJOR), ("minor", _MAX_MINOR)):
            number = device.get(name)
            if number is None:
                add(f"{at}/{name}", f"required for a device of type {device['type']}")
            elif not 0 <= number <= limit:
                add(f"{at}/{name}", f"must be from 0 to {limit}")


def is_interface_name(name: str) -> bool:
    """Say whether the kernel takes this as the name of a network device (dev_valid_name)."""
    return (
        0 < len(name.encode("utf-8", "replace")) < 16
        and name not in (".", "..")
        and not any(c in "/:" or c.isspace() for c in name)
    )


def _net_devices(config: dict[str, Any], add: Add) -> None:
    devices = config.get("linux", {}).get("netDevices")
    if not devices:
        return
    if "network" not in namespaces(config):
        add("/linux/netDevices", "needs a network namespace in /linux/namespaces")
    wanted = "must be a name of 1 to 15 bytes without /, : and blanks"
    new_names = set()
    for name, device in devices.items():
        at = f"/linux/netDevices/{escape(name)}"
        new_name = device.get("name") or name
        if not is_interface_name(name):
            add(at, f"the device's name {wanted}")
        if not is_interface_name(new_name) or new_name.replace("%d", "", 1).count("%"):
            add(at + "/name", f"{wanted}, and have % in one %d only")
        elif "%d" not in new_name and new_name in new_names:
            add(at + "/name", f"two devices are to be named {quoted(new_name)}")
        new_names.add(new_name)


def _hidden_paths(config: dict[str, Any], add: Add) -> None:
    linux = config.get("linux", {})
    for name in ("maskedPaths", "readonlyPaths"):
        paths = linux.get(name)
        if not paths:
            continue
        if "mount" not in namespaces(config):
            add("/linux/" + name, "needs a mount namespace in /linux/namespaces")
        for i, path in entries(paths):
            if path[:1] != "/":
                add(f"/linux/{name}/{i}", _ABSOLUTE)


_IPC_SYSCTLS = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)


def sysctl_path(name: str) -> str | None:
    """Return the path below /proc/sys of a kernel parameter, or None when the name is wrong.

    Parts are separated by the first of `.` and `/` that occurs; the other stands for a dot inside a
    part: net.ipv4.conf.eth0/1.forwarding and net/ipv4/conf/eth0.1/forwarding are the same
    (sysctl.d(5)).
    """
    separator = (
        "/" if "/" in name and ("." not in name or name.index("/") < name.index(".")) else "."
    )
    parts = name.split(separator)
    if separator == ".":
        parts = [part.replace("/", ".") for part in parts]
    # A part of dots would lead out of /proc/sys.
    if any(part in ("", ".", "..") for part in parts):
        return None
    return "/".join(parts)


def _sysctl(config: dict[str, Any], add: Add) -> None:
    wanted = config.get("linux", {}).get("sysctl")
    if not wanted:
        return
    present = namespaces(config)
    for name in wanted:
        at = f"/linux/sysctl/{escape(name)}"
        path = sysctl_path(name)
        if path is None:
            add(at, "expected the name of a kernel parameter, such as net.ipv4.ip_forward")
            continue
        dotted = path.replace("/", ".")
        if dotted in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
            needed = "ipc"
        elif path.startswith("net/"):
            needed = "network"
        elif dotted == "kernel.domainname":
            needed = "uts"
        elif dotted == "kernel.hostname":
            add(at, "is set by /hostname")
            continue
        else:
            add(at, "is not of a namespace, and would be set for the whole host")
            continue
        if needed not in present:
            add(at, f"needs a namespace of type {needed} in /linux/namespaces")


def _rdt(config: dict[str, Any], add: Add) -> None:
    rdt = config.get("linux", {}).get("intelRdt")
    if not rdt:
        return
    group = rdt.get("closID", "")
    if group in (".", "..") or "\n" in group or ("/" in group and group != "/"):
        add("/linux/intelRdt/closID", "must be the name of a directory, or / alone")
    for i, line in entries(rdt.get("schemata")):
        if "\n" in line:
            add(f"/linux/intelRdt/schemata/{i}", "must be one line")


def bad_list(text: str, what: str) -> str | None:
    """Return what is wrong with a list such as "0-3,7" of CPUs or nodes; None when nothing is."""
    for part in text.split(","):
        if not part.strip():
            continue  # as runc, which lets extra commas and blanks pass
        first, dash, last = part.strip().partition("-")
        if not dash:
            last = first
        if first.strip(_DIGITS) or last.strip(_DIGITS) or not first or not last:
            return f'expected a list such as "0-3,7", not {quoted(text)}'
        if len(first) > 9 or len(last) > 9 or int(last) > _MAX_LISTED:
            return f"there cannot be a {what} above {_MAX_LISTED}"
        if int(first) > int(last):
            return f"the range {first}-{last} is the wrong way round"
    return None


def _memory_policy(config: dict[str, Any], add: Add) -> None:
    # set_mempolicy(2).
    policy = config.get("linux", {}).get("memoryPolicy")
    if policy is None:
        return
    at = "/linux/memoryPolicy"
    mode, nodes, flags = policy.get("mode"), policy.get("nodes", ""), policy.get("flags", ())
    if mode is None:
        add(at + "/mode", "required, and missing")
        return
    some = bool(nodes.strip(" ,"))
    if message := bad_list(nodes, "node"):
        add(at + "/nodes", message)
    elif some and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        add(at + "/nodes", f"must be empty for {mode}")
    elif not some and mode not in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"):
        add(at + "/nodes", f"must have at least one node for {mode}")
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        add(at + "/flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other")
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        add(at + "/flags", "MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY")


def _personality(config: dict[str, Any], add: Add) -> None:
    personality = config.get("linux", {}).get("personality")
    if personality is None:
        return
    if "domain" not in personality:
        add("/linux/personality/domain", "required, and missing")
    if personality.get("flags"):
        add("/linux/personality/flags", "must be empty: no flags are defined so far")


def _seccomp(config: dict[str, Any], add: Add) -> None:
    seccomp = config.get("linux", {}).get("seccomp")
    if not seccomp:
        return
    at = "/linux/seccomp"
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        add(at + "/listenerMetadata", "needs listenerPath")
    _errno(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"), at + "/defaultErrnoRet", add)
    if seccomp["defaultAction"] == "SCMP_ACT_NOTIFY":
        # The listener could never be handed over: that takes system calls after the filter is set.
        add(at + "/defaultAction", "SCMP_ACT_NOTIFY cannot be the default")
    for i, rule in entries(seccomp.get("syscalls")):
        here = f"{at}/syscalls/{i}"
        names = rule["names"]
        if "" in names:
            add(f"{here}/names/{names.index('')}", "must not be empty")
        if rule["action"] == "SCMP_ACT_NOTIFY":
            if not seccomp.get("listenerPath"):
                add(here + "/action", "SCMP_ACT_NOTIFY needs /linux/seccomp/listenerPath")
            if "write" in names:
                add(f"{here}/names/{names.index('write')}", "SCMP_ACT_NOTIFY cannot be for write")
        _errno(rule["action"], rule.get("errnoRet"), here + "/errnoRet", add)
        for j, argument in entries(rule.get("args")):
            if argument["index"] > 5:
                add(f"{here}/args/{j}/index", "must be from 0 to 5: there are six arguments")


def _errno(action: str, value: int | None, at: str, add: Add) -> None:
    if value is None:
        return
    if action == "SCMP_ACT_ERRNO":
        if value > 4094:
            add(at, "must be at most 4094, the largest error number that libseccomp takes")
    elif action == "SCMP_ACT_TRACE":
        if value > 0xFFFF:
            add(at, "must be at most 65535")
    else:
        add(at, f"is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for {action}")


_NAMESPACES = ("/linux/namespaces",)

RULES = (
    ((), _namespaces),
    (("/linux/namespaces", "/linux/uidMappings", "/linux/gidMappings"), _mappings),
    (_NAMESPACES, _time),
    ((), _devices),
    (_NAMESPACES, _net_devices),
    (_NAMESPACES, _hidden_paths),
    (_NAMESPACES, _sysctl),
    ((), _rdt),
    (("/linux/memoryPolicy",), _memory_policy),
    (("/linux/personality",), _personality),
    (("/linux/seccomp/listenerPath",), _seccomp),
)
