"""From `linux.cgroupsPath` to directories.

Source: runtime-spec config-linux.md, "Cgroups Path"; what it leaves open is done as runc does.
"""

from __future__ import annotations

import os.path

from pyrunc.cgroups.files import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.host.facts import HostFacts

# The v1 hierarchies that a container joins, in this order; "" is v2 beside v1.
V1_HIERARCHIES = (
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "misc",
    "name=systemd",
    "",
)


def clean(path: str) -> str:
    """Normalise a path so that ".." cannot lead above where it starts; relative stays relative."""
    if not path:
        return ""
    normal = os.path.normpath("/" + path.lstrip("/"))
    return normal if path.startswith("/") else normal[1:]


def check(path: str, pointer: str) -> None:
    """Raises CgroupError for a path that no cgroup can have."""
    if "\0" in path or "\n" in path:
        raise refuse(f"cgroupsPath {path!r}: a cgroup's name has no NUL and no newline", pointer)


def v1_paths(cgroups_path: str, container_id: str, facts: HostFacts) -> dict[str, str]:
    """The container's directory in each mounted v1 hierarchy, and in v2's beside them.

    An absolute path starts at the mount point; a relative one, and the default, which is the
    container's id, at the cgroup of this process.
    """
    inner = clean(cgroups_path)
    mounts, own = facts.cgroup_mounts, facts.cgroup_own
    paths = {}
    for hierarchy in V1_HIERARCHIES:
        mount = mounts.get(hierarchy)
        if mount is None:
            continue
        if inner.startswith("/"):
            path = mount + inner
        else:
            above = mount + own.get(hierarchy, "/")
            path = f"{above.rstrip('/')}/{inner or container_id}"
        paths[hierarchy] = path.rstrip("/")
    return paths


def user_manager(facts: HostFacts) -> str:
    """The cgroup of the user's systemd, in which its units are, as a path below the mount point.

    That is the one that we are in, or the usual one if we are in none.
    """
    path = ""
    for part in facts.cgroup_own.get("", "/").strip("/").split("/"):
        path += f"/{part}"
        if part.startswith("user@") and part.endswith(".service"):
            return path
    uid = facts.host_euid
    return f"/user.slice/user-{uid}.slice/user@{uid}.service"


def v2_path(cgroups_path: str, container_id: str, facts: HostFacts) -> str:
    """The container's directory in the v2 hierarchy.

    A relative path, and the default, start at the parent of this process's cgroup: a cgroup that
    has processes cannot hand controllers to cgroups inside it.
    """
    inner = clean(cgroups_path)
    mount = facts.cgroup_mounts[""]
    if inner.startswith("/"):
        return (mount + inner).rstrip("/")
    parent = os.path.dirname(facts.cgroup_own.get("", "/"))
    return os.path.join(mount + parent, inner or container_id)
