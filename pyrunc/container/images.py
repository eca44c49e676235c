"""What a checkpoint and a restore tell CRIU alike: what belongs to the host, and not into the images.

Names and files are those of runc, so that each can restore what the other has checkpointed.
"""

from __future__ import annotations

import os
import stat

from pyrunc.errors import UsageError
from pyrunc.host.mounts import mount_points, place_of
from pyrunc.plan.operations import BIND_RECURSIVE, BindDevice, MaskPath, MountBind, MountFilesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrunc.plan.plan import Plan

#: Which of 0, 1 and 2 of the program came from outside.
DESCRIPTORS = "descriptors.json"
#: Under what name the images have the host's null device, which masks files.
NULL = "/dev/null"
CLONE_NEWNET = 0x40000000
#: Namespaces that CRIU leaves to us, by type: with which names.
OUTER_NAMESPACES = {
    "network": ("net", "extRootNetNS"),
    "pid": ("pid", "extRootPidNS"),
}
_CONFIG_FILES = ("/etc/criu/pyrunc.conf", "/etc/criu/runc.conf")


class CriuOptions:
    """What checkpoint and restore have in common; see criu(8).

    Attributes:
        image_path: directory of the images.
        work_path: directory of CRIU's log and other files of its own; "" for that of the images.
        tcp_established, ext_unix_sk, shell_job, file_locks, auto_dedup, lazy_pages: what CRIU is to go along with.
        manage_cgroups_mode: "" for CRIU's default, or one of `criu.CGROUP_MODES`.
        network_lock: "" for CRIU's default, or one of `criu.NETWORK_LOCKS`.
        empty_ns: types of namespaces whose contents are left out; the network always is.
        criu: the program.
    """

    def __init__(
        self,
        *,
        image_path: str,
        work_path: str = "",
        tcp_established: bool = False,
        ext_unix_sk: bool = False,
        shell_job: bool = False,
        file_locks: bool = False,
        auto_dedup: bool = False,
        lazy_pages: bool = False,
        manage_cgroups_mode: str = "",
        network_lock: str = "",
        empty_ns: Sequence[str] = (),
        criu: str = "criu",
    ) -> None:
        self.image_path = image_path
        self.work_path = work_path
        self.tcp_established = tcp_established
        self.ext_unix_sk = ext_unix_sk
        self.shell_job = shell_job
        self.file_locks = file_locks
        self.auto_dedup = auto_dedup
        self.lazy_pages = lazy_pages
        self.manage_cgroups_mode = manage_cgroups_mode
        self.network_lock = network_lock
        self.empty_ns = empty_ns
        self.criu = criu

    @property
    def log_directory(self) -> str:
        return self.work_path or self.image_path

    def fields(self) -> dict[str, Any]:
        """As fields of the message "Options".

        Raises:
            UsageError: one is wrong.
        """
        from pyrunc.container.criu import CGROUP_MODES, DEFAULT_CGROUP_MODE, NETWORK_LOCKS

        mode = self.manage_cgroups_mode
        if mode and mode not in CGROUP_MODES:
            raise UsageError(
                f'--manage-cgroups-mode "{mode}": must be one of {", ".join(CGROUP_MODES)}'
            )
        lock = self.network_lock
        if lock and lock not in NETWORK_LOCKS:
            raise UsageError(f'--network-lock "{lock}": must be one of {", ".join(NETWORK_LOCKS)}')
        for kind in self.empty_ns:
            if kind != "network":
                raise UsageError(f'--empty-ns "{kind}": CRIU can do so for network only')
        return {
            **({"network_lock": NETWORK_LOCKS[lock]} if lock else {}),
            "log_level": 4,
            "tcp_established": self.tcp_established,
            "ext_unix_sk": self.ext_unix_sk,
            "shell_job": self.shell_job,
            "file_locks": self.file_locks,
            "auto_dedup": self.auto_dedup,
            "lazy_pages": self.lazy_pages,
            "manage_cgroups": True,
            "manage_cgroups_mode": CGROUP_MODES.get(mode, DEFAULT_CGROUP_MODE),
            "empty_ns": CLONE_NEWNET,
            "notify_scripts": True,
            "orphan_pts_master": True,
        }


def open_directory(path: str, flag: str, *, make: bool) -> int:
    """Open a directory for CRIU. Raises UsageError naming the flag."""
    try:
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}", errno=error.errno or 0) from None


def config_file(annotations: dict[str, str]) -> str:
    """CRIU's configuration file for this container: that of the annotation, or one for all; "" for none."""
    named = annotations.get("org.criu.config")
    if named is not None:
        return named
    return next((path for path in _CONFIG_FILES if os.path.exists(path)), "")


def outer_mounts(plan: Plan, root: int, *, existing: Sequence[str] | None) -> dict[str, str]:
    """The mounts of the container that show files of the host: where, and what of the host.

    Args:
        plan: the plan that makes the container.
        root: a descriptor of its root directory.
        existing: its mount points, where the container exists; then only those are given, and for each bind mount
            also what came with it from the host.
    """
    found: dict[str, str] = {}
    ours = set()
    for operation in plan.operations:
        if isinstance(operation, MountBind):
            place = place_of(root, operation.destination)
            ours.add(place)
            found[place] = operation.source
            if operation.flags & BIND_RECURSIVE and existing is None:
                found.update(_below(operation.source, place))
        elif isinstance(operation, BindDevice):
            found[place_of(root, operation.destination)] = operation.source
        elif isinstance(operation, MountFilesystem):
            ours.add(place_of(root, operation.destination))
    if existing is None:
        return found
    kept = {place: source for place, source in found.items() if place in existing}
    for place in existing:
        if place in ours or place in found:
            continue
        above = os.path.dirname(place)
        while above not in ours and above != "/":
            above = os.path.dirname(above)
        if above in found:
            kept[place] = found[above] + place[len(above) :]
    return kept


def _below(source: str, place: str) -> dict[str, str]:
    source = source.rstrip("/")
    return {
        place + point[len(source) :]: point
        for _, point in mount_points()
        if point.startswith(source + "/")
    }


def masked_files(plan: Plan, root: int, existing: Sequence[str]) -> list[str]:
    """The mount points of the null device over masked files."""
    found = []
    for operation in plan.operations:
        if isinstance(operation, MaskPath):
            place = place_of(root, operation.destination)
            if place in existing and not _is_directory(root, place):
                found.append(place)
    return found


def _is_directory(root: int, path: str) -> bool:
    from pyrunc.host.mounts import open_in_root

    try:
        fd = open_in_root(root, path)
    except OSError:
        return False
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def namespace_path(config: dict[str, Any], kind: str) -> str:
    """The path of the namespace of a type that the container was made to join, or ""."""
    for namespace in (config.get("linux") or {}).get("namespaces") or ():
        if namespace["type"] == kind:
            return namespace.get("path") or ""
    return ""
