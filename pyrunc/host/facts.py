"""Facts about this host, each found out when first asked for.

`HostFacts` is the only input besides the bundle and the command line that the compilers have, so
a test gives the facts it wants and needs no such host.
"""

from __future__ import annotations

import os

from pyrunc.host import shim
from pyrunc.host.files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CGROUP_ROOT = "/sys/fs/cgroup"

# capabilities(7), in the order of their numbers.
_NAMES = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID "
    "CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST "
    "CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO "
    "CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE "
    "CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE "
    "CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM "
    "CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_NAMES.split())
_CAP_SYS_ADMIN = 21


class HostFacts:
    """What the compilers may know of the host.

    A fact is computed at first use and kept. A keyword argument sets it beforehand, as in
    `HostFacts(cgroup_mode="v2", euid=1000)`.

    Attributes:
        kernel: (major, minor) of the running kernel.
        euid: effective user id of this process.
        egid: effective group id of this process.
        host_euid: `euid` as the user namespace outside sees it.
        capabilities: names of this process's effective capabilities.
        permitted: its permitted capabilities as a bit mask.
        is_privileged: it has CAP_SYS_ADMIN.
        set_groups: setgroups(2) is allowed in its user namespace (user_namespaces(7)).
        kcore: /proc/kcore exists.
        user_namespace: this process is in a user namespace other than the initial one.
        apparmor: AppArmor is enabled.
        selinux: SELinux is enabled.
        filesystems: types of filesystems that the kernel has.
        resctrl: where the resctrl filesystem is mounted, or "".
        cgroup_mode: "v2"; "v1"; "hybrid", which is v1 beside a v2 hierarchy; or "none".
        cgroup_mounts: mount point of each v1 controller or named hierarchy ("name=systemd"), and
            under "" that of v2. Controllers mounted together have the same one.
        cgroup_own: this process's cgroup in each of these, as a path below the mount point.
        cgroup2_options: options of cgroup2 that are the whole system's.
    """

    kernel: tuple[int, int]
    euid: int
    egid: int
    host_euid: int
    capabilities: frozenset[str]
    permitted: int
    is_privileged: bool
    set_groups: bool
    kcore: bool
    user_namespace: bool
    apparmor: bool
    selinux: bool
    filesystems: frozenset[str]
    resctrl: str
    cgroup_mode: str
    cgroup_mounts: dict[str, str]
    cgroup_own: dict[str, str]
    cgroup2_options: list[str]

    def __init__(self, **known: object) -> None:
        for name in known:
            if name not in _COMPUTE:
                raise TypeError(f"HostFacts has no fact {name!r}")
        self.__dict__.update(known)

    if not TYPE_CHECKING:  # a type checker must keep to the declared names

        def __getattr__(self, name: str) -> object:
            compute = _COMPUTE.get(name)
            if compute is None:
                raise AttributeError(name)
            value = compute(self)
            self.__dict__[name] = value
            return value


def _kernel(_: HostFacts) -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    digits = ""
    for char in minor:
        if not char.isdigit():
            break
        digits += char
    return int(major), int(digits or "0")


def _capabilities(_: HostFacts) -> frozenset[str]:
    status = read_bytes("/proc/thread-self/status")
    start = status.index(b"CapEff:") + len(b"CapEff:")
    bits = int(status[start : status.index(b"\n", start)], 16)
    return frozenset(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def _permitted(_: HostFacts) -> int:
    status = read_bytes("/proc/thread-self/status")
    start = status.index(b"CapPrm:") + len(b"CapPrm:")
    return int(status[start : status.index(b"\n", start)], 16)


def _set_groups(_: HostFacts) -> bool:
    try:
        return read_bytes("/proc/self/setgroups").startswith(b"allow")
    except OSError:
        return True


def _user_namespace(_: HostFacts) -> bool:
    try:
        return read_bytes("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]
    except FileNotFoundError:  # a kernel without user namespaces
        return False


def _host_euid(facts: HostFacts) -> int:
    try:
        lines = read_bytes("/proc/self/uid_map").splitlines()
    except FileNotFoundError:  # a kernel without user namespaces
        lines = []
    for line in lines:
        inside, outside, size = map(int, line.split())
        if inside <= facts.euid < inside + size:
            return outside + facts.euid - inside
    return facts.euid


def _apparmor(_: HostFacts) -> bool:
    try:
        return read_bytes("/sys/module/apparmor/parameters/enabled").startswith(b"Y")
    except OSError:
        return False


def _selinux(_: HostFacts) -> bool:
    return os.path.exists("/sys/fs/selinux/enforce")


def _filesystems(_: HostFacts) -> frozenset[str]:
    lines = read_bytes("/proc/filesystems").decode().splitlines()
    return frozenset(line.rpartition("\t")[2] for line in lines)


def _mountinfo() -> str:
    return read_bytes("/proc/self/mountinfo").decode(errors="surrogateescape")


def _mount_of(kind: str) -> tuple[str, str]:
    """The first mount of a type: what mountinfo (proc(5)) has before and after " - "; empty if there is none."""
    for line in _mountinfo().splitlines():
        head, _, tail = line.partition(" - ")
        if tail.startswith(f"{kind} "):
            return head, tail
    return "", ""


def _resctrl(_: HostFacts) -> str:
    head, _tail = _mount_of("resctrl")
    return _unescape(head.split(" ", 5)[4]) if head else ""


#: Options of cgroup2 that belong to the whole system (cgroup-v2.rst, "Mounting").
_CGROUP2_OPTIONS = {
    "nsdelegate",
    "favordynmods",
    "memory_localevents",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "pids_localevents",
}


def _cgroup2_options(_: HostFacts) -> list[str]:
    _head, tail = _mount_of("cgroup2")
    return [o for o in tail.rpartition(" ")[2].split(",") if o in _CGROUP2_OPTIONS]


def _cgroup_mode(facts: HostFacts) -> str:
    if os.path.exists(CGROUP_ROOT + "/cgroup.controllers"):
        return "v2"
    mounts = facts.cgroup_mounts
    if "" not in mounts:
        return "v1" if mounts else "none"
    return "hybrid" if len(mounts) > 1 else "v2"


def _cgroup_mounts(facts: HostFacts) -> dict[str, str]:
    return _find_cgroups(facts)[0]


def _cgroup_own(facts: HostFacts) -> dict[str, str]:
    return _find_cgroups(facts)[1]


def _find_cgroups(facts: HostFacts) -> tuple[dict[str, str], dict[str, str]]:
    known = facts.__dict__
    try:
        own = parse_proc_cgroup(read_bytes("/proc/self/cgroup").decode(errors="surrogateescape"))
    except FileNotFoundError:  # a kernel without cgroups
        own = {}
    mode = known.get("cgroup_mode")
    if mode == "v2" or (mode is None and os.path.exists(CGROUP_ROOT + "/cgroup.controllers")):
        found = {"": CGROUP_ROOT}, {"": own.get("", "/")}
    else:
        conventional = _conventional_mounts(own)
        if conventional is not None:
            found = conventional, own
        else:
            found = parse_mountinfo(_mountinfo(), own)
    known.setdefault("cgroup_mounts", found[0])
    known.setdefault("cgroup_own", found[1])
    return found


def parse_proc_cgroup(text: str) -> dict[str, str]:
    """The hierarchies of /proc/PID/cgroup (cgroups(7)): each controller's path, "" being v2."""
    own = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _conventional_mounts(own: dict[str, str]) -> dict[str, str] | None:
    """The mount points if they are where systemd, and everyone since, puts them; or None.

    A few stat(2) instead of reading mountinfo, which is as long as the host has mounts. Our own
    cgroup is looked for below each: where only a part of the hierarchy is mounted, it is missing.
    """
    names = {"": "unified", "name=systemd": "systemd"}
    mounts = {name: f"{CGROUP_ROOT}/{names.get(name, name)}" for name in own}
    files = [f"{mounts[name]}{path}/cgroup.procs" for name, path in own.items()]
    there = shim.carry_out("s", files)[0] if shim.is_loaded() else 0
    for name, file in list(zip(own, files, strict=True))[there:]:
        if os.path.exists(file):
            continue
        if name:  # that of v2 need not be mounted beside v1
            return None
        del mounts[name]
    return mounts if len(mounts) > 1 else None


def parse_mountinfo(text: str, own: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Mount points of the hierarchies in `own` by mountinfo (proc(5)), and `own` below them.

    The first mount that has our own cgroup in it counts, otherwise the first one. Beside v1, a v2
    hierarchy counts only where systemd mounts it, as "unified".
    """
    mounts: dict[str, str] = {}
    below: dict[str, str] = {}
    inside: set[str] = set()
    for line in text.splitlines():
        head, separator, tail = line.partition(" - ")
        if not separator or not tail.startswith("cgroup"):
            continue
        kind, _, options = tail.split(" ", 2)
        _, _, _, root, mount = head.split(" ", 5)[:5]
        root, mount = _unescape(root), _unescape(mount)
        names = [""] if kind == "cgroup2" else options.split(",")
        for name in names:
            if name not in own or name in inside:
                continue
            contained = root == "/" or (own[name] + "/").startswith(root + "/")
            if contained:
                inside.add(name)
            elif name in mounts:
                continue
            mounts[name] = mount
            below[name] = (own[name] if root == "/" else own[name][len(root) :]) or "/"
            if not contained:
                below[name] = "/"
    if len(mounts) > 1 and "" in mounts and not mounts[""].endswith("/unified"):
        del mounts[""], below[""]
    return mounts, below


def _unescape(field: str) -> str:
    """Decode the \\ooo that mountinfo has in place of blank, tab, newline and backslash."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


_COMPUTE: dict[str, Callable[[HostFacts], object]] = {
    "kernel": _kernel,
    "euid": lambda _: os.geteuid(),
    "egid": lambda _: os.getegid(),
    "host_euid": _host_euid,
    "capabilities": _capabilities,
    "permitted": _permitted,
    "is_privileged": lambda facts: bool(facts.permitted >> _CAP_SYS_ADMIN & 1),
    "set_groups": _set_groups,
    "kcore": lambda _: os.path.exists("/proc/kcore"),
    "user_namespace": _user_namespace,
    "apparmor": _apparmor,
    "selinux": _selinux,
    "filesystems": _filesystems,
    "resctrl": _resctrl,
    "cgroup_mode": _cgroup_mode,
    "cgroup_mounts": _cgroup_mounts,
    "cgroup_own": _cgroup_own,
    "cgroup2_options": _cgroup2_options,
}
