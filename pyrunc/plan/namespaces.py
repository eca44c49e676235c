"""Which namespaces the init begins with. Kept apart from the compilers, as it is needed before they are loaded."""

from __future__ import annotations

from pyrunc.errors import HostError
from pyrunc.spec.tables import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.facts import HostFacts

CLONE_NEWCGROUP = NAMESPACES["cgroup"][0]
CLONE_NEWPID = NAMESPACES["pid"][0]
CLONE_NEWTIME = NAMESPACES["time"][0]
CLONE_NEWUSER = NAMESPACES["user"][0]


def first_namespaces(config: dict[str, Any]) -> tuple[int, int]:
    """The new namespaces of the first process: CLONE_NEW* for its clone3(2), and those that it unshares itself.

    Both are 0 where something has to be done in the namespaces of the host first; then a later operation, `Clone`,
    makes them. The cgroup namespace is never among them: it is made inside the container's cgroup.
    """
    flags = 0
    for namespace in (config.get("linux") or {}).get("namespaces") or ():
        if namespace.get("path"):
            return 0, 0
        flags |= NAMESPACES[namespace["type"]][0]
    if flags & (CLONE_NEWUSER | CLONE_NEWTIME) or any(map(has_idmap, config.get("mounts") or ())):
        return 0, 0
    return flags & CLONE_NEWPID, flags & ~(CLONE_NEWPID | CLONE_NEWCGROUP)


def has_idmap(mount: dict[str, Any]) -> bool:
    """The mount is to be id-mapped."""
    options = mount.get("options") or ()
    return bool("idmap" in options or "ridmap" in options or mount.get("uidMappings"))


def check_privileges(config: dict[str, Any], facts: HostFacts) -> None:
    """Raise HostError where only a user namespace would give the privileges that a container needs."""
    if facts.is_privileged:
        return
    namespaces = (config.get("linux") or {}).get("namespaces") or ()
    if not any(namespace["type"] == "user" for namespace in namespaces):
        raise HostError.asked_by(
            "/linux/namespaces",
            "without privileges (CAP_SYS_ADMIN) a container needs a user namespace:"
            " `pyrunc spec --rootless` shows how",
        )
