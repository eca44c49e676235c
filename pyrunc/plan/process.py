"""Compiles `process` of config.json (config.md, "Process") into operations."""

from __future__ import annotations

from pyrunc import log
from pyrunc.errors import HostError
from pyrunc.plan.operations import (
    ChangeDirectory,
    DropBounding,
    Execute,
    LoadSeccomp,
    OwnStdio,
    PrepareProgram,
    SetAffinity,
    SetCapabilities,
    SetDumpable,
    SetIoPriority,
    SetLabel,
    SetMemoryPolicy,
    SetNoNewPrivileges,
    SetPersonality,
    SetRlimit,
    SetScheduler,
    SetUmask,
    SetUser,
)
from pyrunc.spec.tables import CAPABILITIES, RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.context import Context

CAP_SYS_ADMIN = 1 << CAPABILITIES["CAP_SYS_ADMIN"]
DEFAULT_UMASK = 0o022

#: sched(7), linux/sched.h.
SCHED_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}

#: ioprio_set(2): the class, above the 13 bits of the priority.
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

#: set_mempolicy(2), linux/mempolicy.h.
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
#: Those that not every kernel has which is new enough for pyrunc.
_MODES_SINCE = {"MPOL_PREFERRED_MANY": (5, 15), "MPOL_WEIGHTED_INTERLEAVE": (6, 9)}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}

#: personality(2).
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}


def parse_list(text: str) -> bytes:
    """A cpuset(7) list ("0-3,7") as a bit mask, lowest number in the lowest bit of the first byte.

    Raises:
        ValueError: it is not such a list.
    """
    mask = 0
    for part in text.split(","):
        item = part.strip()
        if not item:
            continue
        first, dash, last = item.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if not 0 <= low <= high < 1 << 16:
            raise ValueError(f"{item!r} is not a range of numbers")
        mask |= (1 << high + 1) - (1 << low)
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")


def compile_limits(context: Context, process: dict[str, Any], pointer: str) -> None:
    """Add what needs privileges that the process will not have."""
    for index, limit in enumerate(process.get("rlimits") or ()):
        resource = RLIMITS[limit["type"]]
        context.add(SetRlimit(resource, limit["soft"], limit["hard"]), f"{pointer}/rlimits/{index}")
    scheduler = process.get("scheduler")
    if scheduler:
        flags = 0
        for name in scheduler.get("flags") or ():
            flags |= SCHED_FLAGS[name]
        context.add(
            SetScheduler(
                SCHED_POLICIES[scheduler["policy"]],
                flags,
                scheduler.get("nice") or 0,
                scheduler.get("priority") or 0,
                scheduler.get("runtime") or 0,
                scheduler.get("deadline") or 0,
                scheduler.get("period") or 0,
            ),
            pointer + "/scheduler",
        )
    priority = process.get("ioPriority")
    if priority:
        value = IO_CLASSES[priority["class"]] << 13 | (priority.get("priority") or 0)
        context.add(SetIoPriority(value), pointer + "/ioPriority")


def hard_limits(context: Context, process: dict[str, Any]) -> dict[int, int]:
    """Hard limits that only the runtime can raise: a privilege over a user namespace does not count (prlimit(2))."""
    if not (context.in_user_namespace and context.facts.is_privileged):
        return {}
    return {RLIMITS[limit["type"]]: limit["hard"] for limit in process.get("rlimits") or ()}


def compile_personality(context: Context) -> None:
    """Add linux.personality and linux.memoryPolicy."""
    personality = context.linux.get("personality")
    if personality:
        value = PERSONALITIES[personality["domain"]]
        context.add(SetPersonality(value), "/linux/personality/domain")
    policy = context.linux.get("memoryPolicy")
    if policy:
        name = policy["mode"]
        since = _MODES_SINCE.get(name, (0, 0))
        if context.facts.kernel < since:
            raise HostError.asked_by(
                "/linux/memoryPolicy/mode", f"{name} needs Linux {since[0]}.{since[1]}"
            )
        mode = MEMORY_MODES[name]
        for flag in policy.get("flags") or ():
            mode |= MEMORY_FLAGS[flag]
        nodes = parse_list(policy.get("nodes") or "")
        context.add(SetMemoryPolicy(mode, nodes), "/linux/memoryPolicy")


def compile_affinity(context: Context, cpus: str | None, pointer: str) -> None:
    """Add a CPU affinity (process.execCPUAffinity)."""
    if cpus:
        context.add(SetAffinity(parse_list(cpus)), pointer)


def compile_label(context: Context, process: dict[str, Any], pointer: str) -> None:
    """Add the AppArmor profile, to be taken on at execve(2).

    Raises:
        HostError: this host has no AppArmor.
    """
    profile = process.get("apparmorProfile")
    if profile:
        if not context.facts.apparmor:
            raise HostError.asked_by(
                pointer + "/apparmorProfile",
                f"AppArmor profile {profile}: AppArmor is not enabled on this host",
            )
        context.add(
            SetLabel("apparmor/exec", f"exec {profile}"),
            pointer + "/apparmorProfile",
        )


def _selinux(context: Context, process: dict[str, Any], pointer: str) -> None:
    label = process.get("selinuxLabel")
    if label:
        if not context.facts.selinux:
            raise HostError.asked_by(
                pointer + "/selinuxLabel",
                f"SELinux label {label}: SELinux is not enabled on this host",
            )
        context.add(SetLabel("exec", label), pointer + "/selinuxLabel")


class CapabilitySets:
    """The five sets of process.capabilities as bit masks, less what cannot be granted."""

    def __init__(self, context: Context, process: dict[str, Any], pointer: str) -> None:
        sets = process.get("capabilities") or {}
        known = (1 << len(CAPABILITIES)) - 1
        # in a user namespace of its own the process starts with all that the kernel has
        granted = known if context.in_user_namespace else context.facts.permitted
        self.bounding = _mask(sets, "bounding", known, pointer)
        self.permitted = _mask(sets, "permitted", granted, pointer)
        self.effective = _mask(sets, "effective", self.permitted, pointer)
        self.inheritable = _mask(sets, "inheritable", granted, pointer)
        self.ambient = _mask(sets, "ambient", self.permitted & self.inheritable, pointer)


def _mask(sets: dict[str, Any], name: str, granted: int, pointer: str) -> int:
    """One set as a mask. What cannot be granted is left out with a warning (config.md, "Linux Process")."""
    mask = 0
    lacking = []
    for capability in sets.get(name) or ():
        number = CAPABILITIES.get(capability)
        if number is None:
            continue  # spec.rules.warnings tells
        if granted >> number & 1:
            mask |= 1 << number
        else:
            lacking.append(capability)
    if lacking:
        are = "is" if len(lacking) == 1 else "are"
        log.warning(
            f"{pointer}/capabilities/{name}: {', '.join(lacking)} {are} left out: cannot be granted here"
        )
    return mask


def compile_identity(
    context: Context, process: dict[str, Any], pointer: str, *, wait: Any = None
) -> None:
    """Add everything from the umask to the program itself.

    `wait` adds what lies between the set-up process and the program: waiting for start, and hooks. What can
    fail is before it, so that `create` reports it, but for a seccomp filter: it would bind the waiting too. Where the
    filter needs privileges (no noNewPrivileges), CAP_SYS_ADMIN is kept until it is loaded, and only capset(2) and
    execve(2) come after it.
    """
    user = process.get("user") or {}
    uid, gid = user.get("uid") or 0, user.get("gid") or 0
    no_new_privileges = bool(process.get("noNewPrivileges"))
    seccomp = context.linux.get("seccomp")
    if not process.get("terminal"):
        context.add(OwnStdio(uid))
    umask = user.get("umask")
    context.add(SetUmask(DEFAULT_UMASK if umask is None else umask), pointer + "/user/umask")
    if no_new_privileges:
        context.add(SetNoNewPrivileges(), pointer + "/noNewPrivileges")
    context.add(ChangeDirectory(process["cwd"]), pointer + "/cwd")
    if wait is not None:
        # As soon as it has no more capabilities than the container's other processes, those that
        # are executed before `start` could trace it, or use its files: no filter binds it yet.
        context.add(SetDumpable(0))
    sets = CapabilitySets(context, process, pointer)
    final = SetCapabilities(sets.effective, sets.permitted, sets.inheritable, sets.ambient)
    final.pointer = pointer + "/capabilities"
    context.add(DropBounding(sets.bounding), pointer + "/capabilities/bounding")
    kept = context.annotated("keep_original_groups")
    groups = [] if kept else list(user.get("additionalGids") or ())
    if groups and not context.can_set_groups:
        raise HostError.asked_by(
            pointer + "/user/additionalGids",
            "supplementary groups cannot be set: the user namespace of an unprivileged user"
            " without subordinate group ids does not allow it",
        )
    _check_mapped(context, user, pointer + "/user")
    set_groups = int(context.can_set_groups and not kept)
    context.add(SetUser(uid, gid, groups, set_groups), pointer + "/user")
    _selinux(context, process, pointer)
    filter_ = _filter(context, seccomp)
    late = filter_ is not None and not no_new_privileges
    if late:
        keep = CAP_SYS_ADMIN
        context.add(
            SetCapabilities(sets.effective | keep, sets.permitted | keep, sets.inheritable, 0),
            final.pointer,
        )
    else:
        context.add(final)
    if wait is not None:
        wait()
    env = _program_env(context, process)
    find_home = not any(item.startswith("HOME=") and item != "HOME=" for item in env)
    keep = context.options.preserve_fds + context.options.listen_fds
    context.add(PrepareProgram(keep, int(find_home), uid))
    if filter_ is not None:
        context.add(filter_, "/linux/seccomp")
    if late:
        context.add(final)
    context.add(Execute(list(process["args"]), env), pointer + "/args")


def _check_mapped(context: Context, user: dict[str, Any], pointer: str) -> None:
    """Raise HostError for an id of the process that the container's user namespace does not have."""
    if not context.has_new("user"):
        return
    linux = context.linux
    uids, gids = linux.get("uidMappings") or (), linux.get("gidMappings") or ()
    ids = [("uid", user.get("uid") or 0, uids), ("gid", user.get("gid") or 0, gids)]
    for index, gid in enumerate(user.get("additionalGids") or ()):
        ids.append((f"additionalGids/{index}", gid, gids))
    for name, number, mappings in ids:
        if not any(0 <= number - m["containerID"] < m["size"] for m in mappings):
            kind = "user" if name == "uid" else "group"
            raise HostError.asked_by(
                f"{pointer}/{name}",
                f"{kind} id {number} is not mapped into the container's user namespace",
            )


def _filter(context: Context, seccomp: dict[str, Any] | None) -> LoadSeccomp | None:
    data = context.annotations.get("run.oci.seccomp_bpf_data")
    if data:
        from pyrunc.spec.annotations import filter_of

        program = filter_of(data)
        if program is not None:
            return LoadSeccomp(program, 0, 0)
    if not seccomp:
        return None
    options = context.options
    if options.seccomp_filter is not None:
        compiled = options.seccomp_filter.result()
    else:
        from pyrunc.plan.seccomp import compile_filter

        compiled = compile_filter(seccomp, cache_dir=options.seccomp_cache)
    if compiled.skipped and context.annotated("seccomp_fail_unknown_syscall"):
        raise HostError.asked_by(
            "/linux/seccomp/syscalls",
            f"libseccomp does not know {', '.join(compiled.skipped)}, and the annotation"
            " run.oci.seccomp_fail_unknown_syscall forbids to skip that",
        )
    return LoadSeccomp(compiled.program, compiled.flags, int(compiled.listener))


def _program_env(context: Context, process: dict[str, Any]) -> list[str]:
    # Of several values of one variable the last one counts, as with putenv(3).
    env = list({item.partition("=")[0]: item for item in process.get("env") or ()}.values())
    options = context.options
    if options.listen_fds:
        env += [f"LISTEN_FDS={options.listen_fds}", "LISTEN_PID=1"]
        if options.listen_names:
            env.append(f"LISTEN_FDNAMES={options.listen_names}")
    return env
