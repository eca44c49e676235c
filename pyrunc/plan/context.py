"""What the compilers share while they make one plan."""

from __future__ import annotations

from pyrunc.spec.tables import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.plan import CgroupPlan
    from pyrunc.host.facts import HostFacts
    from pyrunc.plan.operation import Operation
    from pyrunc.plan.seccomp import PendingFilter
    from pyrunc.spec.loader import Bundle

#: Slots that every plan has: descriptors that the runtime gives to the init.
SLOT_LISTENER = 0
SLOT_CONSOLE = 1
SLOT_CONTAINER = 2
FIRST_FREE_SLOT = 3


class PlanOptions:
    """What the command line says about a plan.

    Attributes:
        no_pivot: move the rootfs over / instead of pivot_root(2).
        no_new_keyring: keep the caller's session keyring.
        preserve_fds: number of descriptors from 3 on that the program gets.
        listen_fds: how many of these are sockets of socket activation (sd_listen_fds(3)).
        listen_names: their names (LISTEN_FDNAMES), or "".
        seccomp_cache: directory for compiled filters, or None.
        seccomp_filter: the filter of `linux.seccomp`, if somebody has begun to compile it; else None.
        rootless: run without privileges on the host.
        subordinate_ids: newuidmap(1) and newgidmap(1) map the ids of a rootless container.
    """

    def __init__(
        self,
        *,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        listen_fds: int = 0,
        listen_names: str = "",
        seccomp_cache: str | None = None,
        seccomp_filter: PendingFilter | None = None,
        rootless: bool = False,
        subordinate_ids: bool = False,
    ) -> None:
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.preserve_fds = preserve_fds
        self.listen_fds = listen_fds
        self.listen_names = listen_names
        self.seccomp_cache = seccomp_cache
        self.seccomp_filter = seccomp_filter
        self.rootless = rootless
        self.subordinate_ids = subordinate_ids


class Context:
    """The plan in the making.

    Attributes:
        host: operations in the host's namespaces.
        inside: operations in the container's.
        namespaces: {type: path, or "" for a new one}.
        live: the container runs: sources of mounts are opened before it is entered.
    """

    live = False

    def __init__(
        self, bundle: Bundle, facts: HostFacts, options: PlanOptions, cgroup: CgroupPlan
    ) -> None:
        self.bundle = bundle
        self.config = bundle.config
        self.facts = facts
        self.options = options
        self.cgroup = cgroup
        self.host: list[Operation] = []
        self.inside: list[Operation] = []
        self._later: list[Operation] = []
        self._slots = FIRST_FREE_SLOT
        linux = self.config.get("linux") or {}
        self.namespaces: dict[str, str] = {
            namespace["type"]: namespace.get("path") or ""
            for namespace in linux.get("namespaces") or ()
        }
        self.source = bundle.path + "/config.json"

    @property
    def linux(self) -> dict[str, Any]:
        return self.config.get("linux") or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self.config.get("annotations") or {}

    def annotated(self, name: str) -> bool:
        """Whether the annotation run.oci.NAME switches something on."""
        return self.annotations.get("run.oci." + name, "0") != "0"

    @property
    def process(self) -> dict[str, Any]:
        return self.config.get("process") or {}

    @property
    def mount_label(self) -> str:
        return self.linux.get("mountLabel") or ""

    @property
    def in_user_namespace(self) -> bool:
        """The container is in another user namespace than the caller."""
        return "user" in self.namespaces

    @property
    def open_sources(self) -> bool:
        """Sources of bind mounts are opened on the host's side: the way to them may be closed to the ids of the
        container's user namespace, and there is none from a container that runs."""
        return self.live or (self.in_user_namespace and self.facts.is_privileged)

    @property
    def can_set_groups(self) -> bool:
        """setgroups(2) will be allowed: it is denied in a user namespace made without privileges."""
        if self.in_user_namespace:
            return self.facts.is_privileged or self.options.subordinate_ids
        return self.facts.set_groups

    def has_new(self, kind: str) -> bool:
        """The container gets a new namespace of this type."""
        return self.namespaces.get(kind) == ""

    def new_flags(self) -> int:
        """CLONE_NEW* of all new namespaces."""
        flags = 0
        for kind, path in self.namespaces.items():
            if not path:
                flags |= NAMESPACES[kind][0]
        return flags

    def cgroup_directory(self, controller: str) -> str:
        """The container's cgroup in the hierarchy of `controller`, as an absolute path.

        Where it may not get one of its own, that is the caller's.
        """
        path = self.cgroup.paths.get(controller)
        if path:
            return path
        own = self.facts.cgroup_own.get(controller) or "/"
        return (self.facts.cgroup_mounts[controller] + own).rstrip("/")

    def new_slot(self) -> int:
        self._slots += 1
        return self._slots - 1

    def host_side(self, operation: Operation, pointer: str = "") -> None:
        if pointer:
            operation.pointer = pointer
        self.host.append(operation)

    def add(self, operation: Operation, pointer: str = "") -> None:
        if pointer:
            operation.pointer = pointer
        self.inside.append(operation)

    def later(self, operation: Operation, pointer: str = "") -> None:
        """Add it once the rootfs is complete."""
        if pointer:
            operation.pointer = pointer
        self._later.append(operation)

    def flush_later(self) -> None:
        self.inside += self._later
        self._later = []
