"""Plans that change the mounts of a container that runs."""

from __future__ import annotations

from pyrunc.cgroups.plan import CgroupPlan
from pyrunc.errors import ConfigError, StateError, Violation
from pyrunc.plan.context import SLOT_CONTAINER, Context, PlanOptions
from pyrunc.plan.mounts import absolute, compile_mount
from pyrunc.plan.operations import (
    SYNC_START,
    Clone,
    Finish,
    JoinContainer,
    SetDumpable,
    SetIdentity,
    SetUmask,
    Sync,
    Unmount,
)
from pyrunc.plan.plan import Plan
from pyrunc.spec.tables import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.host.facts import HostFacts
    from pyrunc.spec.loader import Bundle


def compile_added(
    bundle: Bundle,
    mounts: list[dict[str, Any]],
    facts: HostFacts,
    namespaces: dict[str, str],
    cgroup: CgroupPlan,
    source: str,
) -> Plan:
    """Compile the plan that makes more mounts in a container.

    Args:
        bundle: the container's.
        mounts: as `mounts` of config.json, checked.
        facts: of the host.
        namespaces: types of the namespaces that the container has of its own.
        cgroup: the container's.
        source: what errors call the document that the mounts are from.

    Raises:
        StateError: the container has no mounts of its own.
        ConfigError: a mount cannot be made as it is described.
        HostError: it needs what this host lacks.
    """
    context = _context(bundle, facts, namespaces, cgroup, source)
    for index, mount in enumerate(mounts):
        compile_mount(context, mount, f"/{index}")
    context.flush_later()
    inside, context.inside = context.inside, []
    _enter(context, list(namespaces))
    # procfs shows the pid namespace of who mounts it, which only a child has
    context.add(Clone(0))
    context.add(SetUmask(0))
    return _plan(context.host + context.inside + inside, facts)


def compile_removed(
    bundle: Bundle,
    destinations: dict[str, str],
    facts: HostFacts,
    namespaces: dict[str, str],
    source: str,
) -> Plan:
    """Compile the plan that takes mounts out of a container: {pointer: destination}, in this order.

    Raises:
        StateError: the container has no mounts of its own.
        ConfigError: it would be left without a root.
    """
    context = _context(bundle, facts, namespaces, _no_cgroup(facts), source)
    # It sees no process of the container, nor is seen by one.
    _enter(context, [kind for kind in namespaces if kind in ("mount", "user")])
    for pointer, destination in destinations.items():
        path = absolute(destination).rstrip("/")
        if not path:
            violation = Violation(f"{pointer}/destination", "the root cannot be unmounted")
            raise ConfigError(source, [violation])
        context.add(Unmount(path), pointer)
    return _plan(context.inside, facts)


def _context(
    bundle: Bundle,
    facts: HostFacts,
    namespaces: dict[str, str],
    cgroup: CgroupPlan,
    source: str,
) -> Context:
    if "mount" not in namespaces:
        raise StateError(
            "the container has no mount namespace of its own, so its mounts are those of the host"
        )
    context = Context(bundle, facts, PlanOptions(), cgroup)
    context.namespaces = namespaces
    context.source = source
    context.live = True
    return context


def _no_cgroup(facts: HostFacts) -> CgroupPlan:
    """What changes mounts stays outside: in a frozen cgroup it would wait for ever."""
    return CgroupPlan("disabled", facts.cgroup_mode, {}, [])


def _enter(context: Context, kinds: list[str]) -> None:
    flags = 0
    for kind in kinds:
        flags |= NAMESPACES[kind][0]
    context.add(Sync(SYNC_START))
    context.add(SetDumpable(0))
    context.add(JoinContainer(SLOT_CONTAINER, flags))
    if "user" in kinds:
        context.add(SetIdentity(0, 0))


def _plan(operations: list[Any], facts: HostFacts) -> Plan:
    return Plan([*operations, Finish()], _no_cgroup(facts))
