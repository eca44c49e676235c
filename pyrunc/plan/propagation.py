"""How mounts propagate between the host and the container: `linux.rootfsPropagation` (config-linux.md, "Rootfs Mount
Propagation"; mount_namespaces(7))."""

from __future__ import annotations

from pyrunc.plan.operations import MS_REC
from pyrunc.spec.tables import MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.context import Context

#: Of the whole tree before the rootfs is mounted, of / when it is entered.
_PROPAGATION = {
    "": (MS_SLAVE | MS_REC, 0),
    "slave": (MS_SLAVE | MS_REC, MS_SLAVE),
    "rslave": (MS_SLAVE | MS_REC, MS_SLAVE | MS_REC),
    "private": (MS_PRIVATE | MS_REC, MS_PRIVATE),
    "rprivate": (MS_PRIVATE | MS_REC, MS_PRIVATE | MS_REC),
    "shared": (MS_SHARED, MS_SHARED),
    "rshared": (MS_SHARED | MS_REC, MS_SHARED | MS_REC),
    "unbindable": (MS_PRIVATE | MS_REC, MS_UNBINDABLE),
    "runbindable": (MS_PRIVATE | MS_REC, MS_UNBINDABLE | MS_REC),
}


def of_all_mounts(context: Context) -> int:
    """Flags for what the container's mount namespace has of the host."""
    flags, _ = _PROPAGATION[context.linux.get("rootfsPropagation") or ""]
    if context.in_user_namespace and flags & MS_SHARED:
        # Its mounts are slaves of the host's whatever is asked for, and pivot_root(2) refuses a
        # shared parent of the rootfs, which cannot be made private where the way to it is closed.
        return MS_SLAVE | MS_REC
    return flags


def of_source(context: Context) -> int:
    """Flags for a mount that is cloned in the host's mount namespace, so that it becomes what it would be if it had
    been in the container's; 0 for none. Left alone it would carry mounts from the container to the host."""
    if "mount" not in context.namespaces:
        return 0
    flags = of_all_mounts(context)
    return 0 if flags & MS_SHARED else flags


def of_the_root(context: Context) -> int:
    """Flags for the container's /, or 0 to leave it."""
    _, flags = _PROPAGATION[context.linux.get("rootfsPropagation") or ""]
    return flags
