"""Compiles a bundle into a Plan. Nothing here has an effect on the host."""

from __future__ import annotations

from pyrunc.errors import ConfigError, HostError, Violation
from pyrunc.plan.context import SLOT_CONTAINER, SLOT_LISTENER, Context, PlanOptions
from pyrunc.plan.mounts import flatten
from pyrunc.plan.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    check_privileges,
    first_namespaces,
)
from pyrunc.plan.operation import Operation
from pyrunc.plan.operations import (
    SYNC_MAP_IDS,
    SYNC_NETWORK,
    SYNC_START,
    SYNC_TIME,
    Clone,
    JoinCgroups,
    JoinContainer,
    JoinNamespaces,
    LoopbackUp,
    NewSession,
    NewSessionKeyring,
    SetDomainname,
    SetDumpable,
    SetHostname,
    SetIdentity,
    SetLabel,
    SetUmask,
    Sync,
    Unshare,
    WaitForStart,
    WriteSysctl,
)
from pyrunc.plan.plan import Plan
from pyrunc.plan.process import (
    compile_affinity,
    compile_identity,
    compile_label,
    compile_limits,
    compile_personality,
    hard_limits,
)
from pyrunc.plan.rootfs import compile_console, compile_hiding, compile_hooks, compile_rootfs
from pyrunc.spec.rules_linux import sysctl_path
from pyrunc.spec.tables import NAMESPACES
from pyrunc.spec.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroups.plan import CgroupPlan
    from pyrunc.host.facts import HostFacts
    from pyrunc.spec.loader import Bundle

KERNEL_FLOOR = (5, 14)


def compile_plan(
    bundle: Bundle, container_id: str, facts: HostFacts, options: PlanOptions, cgroup: CgroupPlan
) -> Plan:
    """Compile the plan that creates a container.

    Raises:
        HostError: the host lacks what config.json asks for.
        ConfigError: config.json asks for what cannot be.
    """
    if facts.kernel < KERNEL_FLOOR:
        raise HostError(
            f"Linux {facts.kernel[0]}.{facts.kernel[1]} is too old: pyrunc needs"
            f" {KERNEL_FLOOR[0]}.{KERNEL_FLOOR[1]} or newer"
        )
    check_privileges(bundle.config, facts)
    context = Context(bundle, facts, options, cgroup)
    _compile_inside(context)
    _compile_host(context)
    plan = Plan(context.host + context.inside, cgroup)
    plan.spawn_flags, plan.unshare_flags = first_namespaces(context.config)
    assert not (plan.unshare_flags and any(isinstance(o, Clone) for o in plan.operations))
    linux = context.linux
    plan.preserve_fds = options.preserve_fds + options.listen_fds
    plan.uid_mappings = flatten(linux.get("uidMappings") or [])
    plan.gid_mappings = flatten(linux.get("gidMappings") or [])
    plan.time_offsets = linux.get("timeOffsets") or {}
    plan.net_devices = linux.get("netDevices") or {}
    if linux.get("intelRdt") is not None:
        from pyrunc.plan.resctrl import compile_resctrl

        plan.resctrl = compile_resctrl(linux["intelRdt"], container_id, facts)
    plan.hard_limits = hard_limits(context, context.process)
    plan.oom_score_adj = context.process.get("oomScoreAdj")
    return plan


def _compile_start(cgroup: CgroupPlan) -> list[Operation]:
    """How the process gets into its cgroup: by itself where it can (v1), else by clone3 (v2) or by the runtime."""
    files = [f"{path}/tasks" for path in dict.fromkeys(_v1_paths(cgroup))]
    start: list[Operation] = [Sync(SYNC_START)]
    if files and not cgroup.late:
        start.insert(0, JoinCgroups(files).at("/linux/cgroupsPath"))
    return start


def _v1_paths(cgroup: CgroupPlan) -> list[str]:
    return [path for controller, path in cgroup.paths.items() if controller]


def _compile_host(context: Context) -> None:
    """Put the operations on namespaces before what is there."""
    joined = [(kind, path) for kind, path in context.namespaces.items() if path]
    new = context.new_flags() & ~CLONE_NEWCGROUP
    first = _compile_start(context.cgroup)
    host = context.host
    if not (joined or host or new & (CLONE_NEWUSER | CLONE_NEWTIME)):
        context.host = first
        return
    if joined:
        paths = [path for _, path in joined]
        types = [NAMESPACES[kind][0] for kind, _ in joined]
        host.append(SetDumpable(0))
        pointer = "/linux/namespaces"
        if len(joined) == 1:
            pointer += f"/{list(context.namespaces).index(joined[0][0])}"
        host.append(JoinNamespaces(paths, types).at(pointer))
    if new & CLONE_NEWUSER:
        host.append(Unshare(CLONE_NEWUSER).at("/linux/namespaces"))
        host.append(Sync(SYNC_MAP_IDS).at("/linux/uidMappings"))
    if context.in_user_namespace:
        host.append(SetIdentity(0, 0))
    if new & CLONE_NEWTIME:
        host.append(Unshare(CLONE_NEWTIME).at("/linux/namespaces"))
        host.append(Sync(SYNC_TIME).at("/linux/timeOffsets"))
    host.append(Clone(new & ~CLONE_NEWUSER & ~CLONE_NEWTIME).at("/linux/namespaces"))
    context.host = first + host


def _compile_inside(context: Context) -> None:
    config = context.config
    context.add(SetUmask(0))
    if context.has_new("cgroup"):
        context.add(Unshare(CLONE_NEWCGROUP), "/linux/namespaces")
    _compile_keyring(context, config.get("process") or {})
    context.add(NewSession())
    if context.has_new("network"):
        context.add(LoopbackUp())
    if context.linux.get("netDevices"):
        context.add(Sync(SYNC_NETWORK), "/linux/netDevices")
    if config.get("hostname"):
        context.add(SetHostname(config["hostname"]), "/hostname")
    if config.get("domainname"):
        context.add(SetDomainname(config["domainname"]), "/domainname")
    compile_rootfs(context)
    process = config.get("process")
    if process:
        compile_label(context, process, "/process")
    for key, value in (context.linux.get("sysctl") or {}).items():
        path = sysctl_path(key)
        if path is None:
            raise ConfigError(
                context.source,
                [Violation(f"/linux/sysctl/{escape(key)}", "not the name of a kernel parameter")],
            )
        context.add(WriteSysctl(path, value), f"/linux/sysctl/{escape(key)}")
    compile_hiding(context)

    def wait() -> None:
        context.add(WaitForStart(SLOT_LISTENER))
        compile_hooks(context, "startContainer")

    if not process:
        wait()
        return
    compile_limits(context, process, "/process")
    compile_personality(context)
    compile_identity(context, process, "/process", wait=wait)


def _compile_keyring(context: Context, process: dict[str, Any]) -> None:
    if context.options.no_new_keyring:
        return
    label = process.get("selinuxLabel") if context.facts.selinux else None
    if label:
        # a keyring with the label of the runtime would be closed to the process
        context.add(SetLabel("keycreate", label), "/process/selinuxLabel")
    context.add(NewSessionKeyring())
    if label:
        context.add(SetLabel("keycreate", ""))


def compile_exec(
    bundle: Bundle,
    process: dict[str, Any],
    facts: HostFacts,
    options: PlanOptions,
    cgroup: CgroupPlan,
    namespaces: dict[str, str],
) -> Plan:
    """Compile the plan that runs another process in a container.

    Args:
        bundle: the container's.
        process: the process object, complete and checked.
        namespaces: types of the namespaces that the container has of its own; their paths do not matter, as the
            container's first process leads to them.
    """
    context = Context(bundle, facts, options, cgroup)
    context.namespaces = namespaces
    flags = 0
    for kind in namespaces:
        flags |= NAMESPACES[kind][0]
    affinity = process.get("execCPUAffinity") or {}
    compile_affinity(context, affinity.get("initial"), "/process/execCPUAffinity/initial")
    context.inside += _compile_start(cgroup)
    context.add(SetDumpable(0))
    context.add(JoinContainer(SLOT_CONTAINER, flags))
    if "user" in namespaces:
        context.add(SetIdentity(0, 0))
    context.add(Clone(0))
    context.add(SetUmask(0))
    compile_affinity(context, affinity.get("final"), "/process/execCPUAffinity/final")
    _compile_keyring(context, process)
    context.add(NewSession())
    if process.get("terminal"):
        compile_console(context, process, mount=False)
    compile_label(context, process, "/process")
    compile_limits(context, process, "/process")
    compile_personality(context)
    compile_identity(context, process, "/process")
    plan = Plan(context.inside, cgroup)
    plan.preserve_fds = options.preserve_fds
    plan.hard_limits = hard_limits(context, process)
    plan.oom_score_adj = process.get("oomScoreAdj")
    return plan
