"""What this host can do for containers, and what would let it do more: the findings of `pyrunc doctor`."""

from __future__ import annotations

import os

from pyrunc.host.facts import CAPABILITIES, HostFacts
from pyrunc.host.files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Kinds of findings: as it should be; a thing that some containers need is missing; none can run.
GOOD, NOTE, BAD = "good", "note", "bad"

KERNEL_FLOOR = (5, 14)

_NAMESPACES = ("mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma")
_CONTROLLERS_V1 = (
    *("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer"),
    *("hugetlb", "net_cls", "net_prio", "rdma"),
)
#: Without these, no container is kept within bounds.
_NEEDED_V1 = ("devices", "freezer", "memory", "cpu", "pids")
_NEEDED_V2 = ("cpu", "memory", "pids")


class Finding:
    """One finding.

    Attributes:
        area: kernel, cgroup, security, rootless, …
        name: what was looked at.
        kind: GOOD, NOTE or BAD.
        text: what was found.
        mend: how it can be mended; "" where nothing has to be.
    """

    __slots__ = ("area", "kind", "mend", "name", "text")

    def __init__(self, area: str, name: str, kind: str, text: str, mend: str = "") -> None:
        self.area = area
        self.name = name
        self.kind = kind
        self.text = text
        self.mend = mend

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("area", "name", "kind", "text", "mend")}


class Host:
    """The host as the checks see it; a test gives one with other files and programs."""

    def __init__(self, facts: HostFacts | None = None) -> None:
        self.facts = facts or HostFacts()

    def read(self, path: str) -> str:
        """The content of a small file without blanks at its ends; "" where there is none."""
        try:
            return read_bytes(path).decode(errors="replace").strip()
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def writable(self, path: str) -> bool:
        return os.access(path, os.W_OK)

    def program(self, name: str) -> str:
        """Where a program is, or ""."""
        from shutil import which

        path = ":".join(filter(None, (os.environ.get("PATH"), "/usr/sbin:/sbin:/usr/bin:/bin")))
        return which(name, path=path) or ""

    def user(self) -> str:
        """Name of the user, or the number where it has none."""
        from pwd import getpwuid

        try:
            return getpwuid(self.facts.euid).pw_name
        except KeyError:
            return str(self.facts.euid)


def findings(host: Host) -> Iterator[Finding]:
    """All findings, in order."""
    for check in _CHECKS:
        yield from check(host)


def _kernel(host: Host) -> Iterator[Finding]:
    facts = host.facts
    version = ".".join(map(str, facts.kernel))
    floor = ".".join(map(str, KERNEL_FLOOR))
    if facts.kernel >= KERNEL_FLOOR:
        yield Finding("kernel", "version", GOOD, f"Linux {version}")
    else:
        mend = f"boot Linux {floor} or newer"
        yield Finding("kernel", "version", BAD, f"Linux {version} is too old", mend)
    missing = [n for n in _NAMESPACES if not host.exists(f"/proc/self/ns/{n}")]
    if missing:
        kind = BAD if {"mnt", "pid"} & set(missing) else NOTE
        mend = "boot a kernel that has them (CONFIG_*_NS)"
        yield Finding("kernel", "namespaces", kind, f"there are none of {', '.join(missing)}", mend)
    else:
        yield Finding("kernel", "namespaces", GOOD, ", ".join(_NAMESPACES))
    if host.read("/proc/sys/vm/memfd_noexec") == "2":
        yield Finding(
            "kernel",
            "memfd",
            BAD,
            "vm.memfd_noexec is 2: pyrunc-init, which is executed from a memfd, cannot be",
            "sysctl vm.memfd_noexec=1",
        )
    else:
        yield Finding("kernel", "memfd", GOOD, "memfds can be executed")
    filesystems = facts.filesystems
    missing = [n for n in ("overlay", "tmpfs", "proc", "sysfs", "mqueue") if n not in filesystems]
    if missing:
        kind = BAD if {"tmpfs", "proc"} & set(missing) else NOTE
        mend = f"modprobe {' '.join(missing)}, where they are modules"
        text = f"the kernel has no {', '.join(missing)} now"
        yield Finding("kernel", "filesystems", kind, text, mend)
    else:
        yield Finding("kernel", "filesystems", GOOD, "overlay, tmpfs, proc, sysfs, mqueue")


def _cgroup(host: Host) -> Iterator[Finding]:
    facts = host.facts
    mode = facts.cgroup_mode
    if mode == "none":
        mend = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        yield Finding("cgroup", "mode", BAD, "no cgroup filesystem is mounted", mend)
        return
    names = {"v1": "version 1", "hybrid": "version 1, and 2 beside it", "v2": "version 2"}
    mend = "" if mode == "v2" else "boot with systemd.unified_cgroup_hierarchy=1, for version 2"
    yield Finding("cgroup", "mode", GOOD if mode == "v2" else NOTE, names[mode], mend)
    if mode == "v2":
        root = facts.cgroup_mounts[""]
        present = set(host.read(f"{root}/cgroup.controllers").split())
        known: tuple[str, ...] = _CONTROLLERS
        needed: tuple[str, ...] = _NEEDED_V2
        mend = "remove cgroup_disable= from the kernel's command line"
    else:
        present = set(facts.cgroup_mounts)
        known, needed = _CONTROLLERS_V1, _NEEDED_V1
        mend = "mount them below /sys/fs/cgroup; see the kernel's command line for cgroup_disable="
    missing = [name for name in known if name not in present]
    lacking = [name for name in needed if name not in present]
    if lacking:
        text = f"{', '.join(lacking)} are missing: such limits are refused"
        yield Finding("cgroup", "controllers", NOTE, text, mend)
    else:
        text = ", ".join(name for name in known if name in present)
        text += f" (not {', '.join(missing)})" if missing else ""
        yield Finding("cgroup", "controllers", GOOD, text)
    yield from _swap(host)
    if host.exists("/run/systemd/system"):
        yield Finding("cgroup", "systemd", GOOD, "runs: --systemd-cgroup can be used")
    else:
        yield Finding(
            "cgroup",
            "systemd",
            NOTE,
            "does not run: --systemd-cgroup cannot be used",
            "use --cgroup-manager=cgroupfs",
        )


def _swap(host: Host) -> Iterator[Finding]:
    facts = host.facts
    if facts.cgroup_mode == "v2":
        place = facts.cgroup_mounts[""] + facts.cgroup_own.get("", "")
        accounted = host.exists(f"{place}/memory.swap.max") or facts.cgroup_own.get("") == "/"
    elif "memory" in facts.cgroup_mounts:
        accounted = host.exists(f"{facts.cgroup_mounts['memory']}/memory.memsw.limit_in_bytes")
    else:
        return
    if accounted:
        yield Finding("cgroup", "swap", GOOD, "is accounted: it can be limited")
    else:
        yield Finding("cgroup", "swap", NOTE, "is not accounted", "boot with swapaccount=1")


def _security(host: Host) -> Iterator[Finding]:
    facts = host.facts
    actions = host.read("/proc/sys/kernel/seccomp/actions_avail").split()
    if not actions:
        mend = "boot a kernel with CONFIG_SECCOMP_FILTER"
        yield Finding("security", "seccomp", NOTE, "the kernel has no filters", mend)
    else:
        try:
            from pyrunc.host.libseccomp import version

            text = f"libseccomp {version()}; {', '.join(actions)}"
            yield Finding("security", "seccomp", GOOD, text)
        except ImportError as error:
            mend = "install libseccomp 2.5 or newer (Debian: libseccomp2)"
            yield Finding("security", "seccomp", NOTE, f"no libseccomp: {error}", mend)
    for name, enabled, mend in (
        ("AppArmor", facts.apparmor, "boot with lsm=…,apparmor, and install its tools"),
        ("SELinux", facts.selinux, "boot with lsm=…,selinux, and install a policy"),
    ):
        if enabled:
            yield Finding("security", name, GOOD, "is enabled")
        else:
            text = "is not enabled: configurations that name a profile or label are refused"
            yield Finding("security", name, NOTE, text, mend)
    if facts.euid == 0:
        missing = [name for name in CAPABILITIES if name not in facts.capabilities]
        # those that newer kernels have
        last = host.read("/proc/sys/kernel/cap_last_cap")
        known = CAPABILITIES[: int(last) + 1] if last.isdigit() else CAPABILITIES
        missing = [name for name in missing if name in known]
        if missing:
            kind = BAD if "CAP_SYS_ADMIN" in missing and not facts.user_namespace else NOTE
            text = f"this process has no {', '.join(missing)}: no container can"
            mend = "start it where nothing has dropped them (systemd: CapabilityBoundingSet=)"
            yield Finding("security", "capabilities", kind, text, mend)
        else:
            yield Finding("security", "capabilities", GOOD, "all that the kernel has")


def _rootless(host: Host) -> Iterator[Finding]:
    """Whether users can have containers without root."""
    limit = host.read("/proc/sys/user/max_user_namespaces")
    if limit == "0":
        mend = "sysctl user.max_user_namespaces=15000"
        yield Finding("rootless", "user namespaces", NOTE, "none are allowed", mend)
    elif host.read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        mend = "sysctl kernel.unprivileged_userns_clone=1"
        yield Finding("rootless", "user namespaces", NOTE, "are for root only", mend)
    elif host.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        mend = "an AppArmor profile with userns, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        text = "AppArmor keeps users from what they can do there"
        yield Finding("rootless", "user namespaces", NOTE, text, mend)
    else:
        yield Finding("rootless", "user namespaces", GOOD, "users may make them")
    missing = [name for name in ("newuidmap", "newgidmap") if not host.program(name)]
    if missing:
        mend = "install them (Debian: uidmap; Fedora: shadow-utils)"
        text = f"no {' and '.join(missing)}: users have only one id in a container"
        yield Finding("rootless", "id mapping", NOTE, text, mend)
    else:
        yield Finding("rootless", "id mapping", GOOD, "newuidmap and newgidmap are installed")
    if host.facts.euid == 0:
        return
    user, uid = host.user(), str(host.facts.euid)
    for path in ("/etc/subuid", "/etc/subgid"):
        lines = [line.split(":") for line in host.read(path).splitlines()]
        if any(line[0] in (user, uid) for line in lines):
            yield Finding("rootless", path, GOOD, f"has ids for {user}")
        else:
            flag = "--add-subuids" if path.endswith("uid") else "--add-subgids"
            mend = f"usermod {flag} 100000-165535 {user}"
            yield Finding("rootless", path, NOTE, f"has no ids for {user}", mend)
    runtime = os.environ.get("XDG_RUNTIME_DIR") or ""
    if runtime and host.writable(runtime):
        yield Finding("rootless", "XDG_RUNTIME_DIR", GOOD, runtime)
    else:
        mend = "log in by a session that sets it (pam_systemd), or use --root"
        text = "is not set, or cannot be written to: there is no place for state"
        yield Finding("rootless", "XDG_RUNTIME_DIR", NOTE, text, mend)
    facts = host.facts
    place = facts.cgroup_mounts.get("", "") + facts.cgroup_own.get("", "")
    if facts.cgroup_mode == "v2" and host.writable(f"{place}/cgroup.procs"):
        yield Finding("rootless", "cgroup", GOOD, f"{place} is delegated to {user}")
    else:
        mend = "cgroup version 2, and systemd-run --user --scope -p Delegate=yes"
        text = "no cgroup is delegated: containers have no limits"
        yield Finding("rootless", "cgroup", NOTE, text, mend)


_CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (_kernel, _cgroup, _security, _rootless)
