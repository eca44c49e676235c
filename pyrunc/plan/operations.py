"""The operations of a plan: the one table of the plan format.

Each class is one operation. Its annotations, in order, are its fields and their encoding; `encode` here and
the decoder in ``csrc/init/plan_format.h`` (written by ``python -m pyrunc.plan.header``) both come from them.
The order of the classes gives the opcodes.

Field types: ``u32``, ``i32``, ``u64`` little-endian integers; ``Text`` a UTF-8 string without NUL; ``Blob`` bytes;
``Texts`` and ``U32s`` lists. Paths named *destination* lie inside the rootfs; all others are the host's.
"""

from __future__ import annotations

from pyrunc.plan.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    u32: TypeAlias = int
    i32: TypeAlias = int
    u64: TypeAlias = int
    Text: TypeAlias = str
    Blob: TypeAlias = bytes
    Texts: TypeAlias = list[str]
    U32s: TypeAlias = list[int]

NO_SLOT = 0xFFFFFFFF

# Sync kinds: what the runtime does while the init waits.
SYNC_START = 0
SYNC_MAP_IDS = 1
SYNC_HOOKS = 2
SYNC_TIME = 3
SYNC_NETWORK = 4
SYNC_SECCOMP = 5

SYNC_TEXT = {
    SYNC_START: "the runtime moves the process into its cgroup",
    SYNC_MAP_IDS: "the runtime writes the id mappings",
    SYNC_HOOKS: "the runtime runs the prestart and createRuntime hooks",
    SYNC_TIME: "the runtime writes the clock offsets",
    SYNC_NETWORK: "the runtime moves the network devices",
    SYNC_SECCOMP: "the runtime hands the seccomp listener to its agent",
}

# MountBind.flags
BIND_RECURSIVE = 1
BIND_NO_SYMLINK_SOURCE = 2  # copy-symlink: a symlink as source is made anew, not followed

# MountFilesystem.flags
FS_NO_SYMLINK = (
    1  # the destination must be a plain directory (CVE-2023-28642: /proc or /sys as a symlink)
)
FS_COPY_UP = 2  # tmpcopyup: the files under the destination are copied into the new tmpfs
FS_KEEP_MODE = 4  # a tmpfs takes the mode of the directory that it covers

# MakeSymlink.existing: what becomes of another thing in its place
LINK_KEEP = 0
LINK_REPLACE = 1
LINK_REFUSE = 2

CLONE_NAMES = (
    (0x00000080, "time"),
    (0x00020000, "mount"),
    (0x02000000, "cgroup"),
    (0x04000000, "uts"),
    (0x08000000, "ipc"),
    (0x10000000, "user"),
    (0x20000000, "pid"),
    (0x40000000, "network"),
)

PROPAGATION_NAMES = {1 << 20: "shared", 1 << 19: "slave", 1 << 18: "private", 1 << 17: "unbindable"}
MS_REC = 0x4000

ATTR_NAMES = (
    (0x00000001, "ro"),
    (0x00000002, "nosuid"),
    (0x00000004, "nodev"),
    (0x00000008, "noexec"),
    (0x00000010, "noatime"),
    (0x00000020, "strictatime"),
    (0x00000080, "nodiratime"),
    (0x00100000, "idmap"),
    (0x00200000, "nosymfollow"),
)


def namespace_names(flags: int) -> str:
    """The names of the CLONE_NEW* bits in `flags`, for a person."""
    return ", ".join(name for bit, name in CLONE_NAMES if flags & bit) or "none"


def propagation_name(flags: int) -> str:
    """The name of a mount propagation (MS_* flags), for a person."""
    prefix = "r" if flags & MS_REC else ""
    return prefix + PROPAGATION_NAMES.get(flags & ~MS_REC, hex(flags))


def attr_names(bits: int, sign: str = "") -> str:
    """The names of MOUNT_ATTR_* bits, for a person."""
    return "".join(f",{sign}{name}" for bit, name in ATTR_NAMES if bits & bit)


# ---- processes and namespaces -----------------------------------------------------------------


class Sync(Operation):
    """Report to the runtime and wait until it answers; the answer may carry the state for later hooks."""

    kind: u32

    def describe(self) -> str:
        return f"wait while {SYNC_TEXT[self.kind]}"


class JoinCgroups(Operation):
    """Write "0" to these `tasks` files: a process of one thread that moves itself need not wait for the rest of
    the system, as one that is moved must."""

    files: Texts

    def describe(self) -> str:
        return "join " + " ".join(file.rpartition("/")[0] for file in self.files)


class JoinNamespaces(Operation):
    """setns(2) into namespaces named by path. Those that refuse are tried again after the user namespace."""

    paths: Texts
    types: U32s

    def describe(self) -> str:
        pairs = zip(self.types, self.paths, strict=True)
        return "join " + ", ".join(f"{namespace_names(t)} namespace {p}" for t, p in pairs)


class JoinContainer(Operation):
    """setns(2) into the namespaces `flags` of the process that the pidfd in `slot` refers to."""

    slot: u32
    flags: u32

    def describe(self) -> str:
        return f"join the container's namespaces: {namespace_names(self.flags)}"


class Unshare(Operation):
    """unshare(2): make new namespaces for this process (time: for its children)."""

    flags: u32

    def describe(self) -> str:
        return f"new namespaces: {namespace_names(self.flags)}"


class Clone(Operation):
    """Go on in a child, made with clone3(2) as a child of the runtime, in new namespaces."""

    flags: u32

    def describe(self) -> str:
        return f"go on in a child with new namespaces: {namespace_names(self.flags)}"


class SetIdentity(Operation):
    """Become `uid`:`gid` of the present user namespace, keeping its capabilities."""

    uid: u32
    gid: u32

    def describe(self) -> str:
        return f"become {self.uid}:{self.gid} of the user namespace"


class SetDumpable(Operation):
    """prctl(PR_SET_DUMPABLE): 0 hides this process's /proc/PID/{exe,fd,mem} from the container."""

    value: u32


class LoopbackUp(Operation):
    """Bring the loopback device of a new network namespace up."""

    def describe(self) -> str:
        return "bring up lo"


class SetHostname(Operation):
    name: Text

    def describe(self) -> str:
        return f"hostname {self.name}"


class SetDomainname(Operation):
    name: Text

    def describe(self) -> str:
        return f"domainname {self.name}"


# ---- the root filesystem ----------------------------------------------------------------------


class SetPropagation(Operation):
    """Set the propagation of the mount at `path` (of the host, before the root is changed)."""

    path: Text
    flags: u32

    def describe(self) -> str:
        return f"make {self.path} {propagation_name(self.flags)}"


class OpenRootfs(Operation):
    """Bind the rootfs onto itself and open it: every destination is resolved below this descriptor.

    `private`: make the mount that holds it, which is shared, private first, as pivot_root(2) wants.
    """

    path: Text
    private: u32

    def describe(self) -> str:
        return f"rootfs {self.path}"


class EnterRootfs(Operation):
    """Make the rootfs the working directory while still in the host's namespaces: a mount namespace of a new user
    namespace may then use it although the way to it is closed to the user there."""

    path: Text

    def describe(self) -> str:
        return f"enter {self.path}"


class OpenTree(Operation):
    """Clone the mount at `source` into `slot` while still in the host's namespaces, id-mapped by the user namespace in
    `idmap_slot` if there is one. With `propagation` 0 it stays a peer of the host's, if that is shared."""

    slot: u32
    source: Text
    flags: u32
    idmap_slot: u32
    idmap_recursive: u32
    propagation: u32

    def describe(self) -> str:
        mapped = "" if self.idmap_slot == NO_SLOT else ", id-mapped"
        return f"open {self.source} for a later bind mount{mapped}"


class MakeIdmap(Operation):
    """Make a user namespace with these id mappings into `slot`, for an id-mapped mount.

    `uids` and `gids` hold container id, host id, size, one after another.
    """

    slot: u32
    uids: U32s
    gids: U32s

    def describe(self) -> str:
        return f"id mapping: uids {triples(self.uids)}, gids {triples(self.gids)}"


class MountFilesystem(Operation):
    """Mount a new instance of `fstype` on `destination`: fsopen, fsconfig, fsmount, move_mount.

    `ms_flags`: flags that only mount(2) knows (iversion, posixacl); it is used when there are any.
    """

    fstype: Text
    source: Text
    destination: Text
    options: Texts
    attrs: u64
    ms_flags: u32
    propagation: u32
    flags: u32

    def describe(self) -> str:
        options = "".join(f",{option}" for option in self.options) + attr_names(self.attrs)
        if self.flags & FS_COPY_UP:
            options += ",tmpcopyup"
        if self.propagation:
            options += f",{propagation_name(self.propagation)}"
        return f"mount {self.fstype} on {self.destination}" + (options and f" ({options[1:]})")


class MountBind(Operation):
    """Bind `source` (or the tree in `source_slot`) on `destination`: open_tree, mount_setattr, move_mount.

    The *tree* attributes are applied to all mounts below too (`rro`, `rnosuid`, …).
    """

    source: Text
    source_slot: u32
    destination: Text
    flags: u32
    attrs_set: u64
    attrs_clear: u64
    tree_set: u64
    tree_clear: u64
    propagation: u32

    def describe(self) -> str:
        options = "rbind" if self.flags & BIND_RECURSIVE else "bind"
        options += attr_names(self.attrs_set) + attr_names(self.attrs_clear, "-")
        options += attr_names(self.tree_set, "r-") + attr_names(self.tree_clear, "-r-")
        if self.propagation:
            options += f",{propagation_name(self.propagation)}"
        return f"mount {self.source} on {self.destination} ({options})"


class ChangeMount(Operation):
    """Change the mount on `destination`: attributes, propagation, and with options its superblock (remount)."""

    destination: Text
    options: Texts
    attrs_set: u64
    attrs_clear: u64
    tree_set: u64
    tree_clear: u64
    propagation: u32

    def describe(self) -> str:
        options = "".join(f",{option}" for option in self.options)
        options += attr_names(self.attrs_set) + attr_names(self.attrs_clear, "-")
        options += attr_names(self.tree_set, "r-") + attr_names(self.tree_clear, "-r-")
        if self.propagation:
            options += f",{propagation_name(self.propagation)}"
        return f"remount {self.destination} ({options[1:]})"


class MakeDirectory(Operation):
    destination: Text
    mode: u32

    def describe(self) -> str:
        return f"mkdir {self.destination} {self.mode:04o}"


class MakeSymlink(Operation):
    """Make a symlink; `existing` (LINK_*): what becomes of another thing in its place."""

    target: Text
    destination: Text
    existing: u32

    def describe(self) -> str:
        return f"symlink {self.destination} -> {self.target}"


class MakeNode(Operation):
    """Make a device node or fifo; one of the same type and number is accepted as it is."""

    destination: Text
    mode: u32
    major: u32
    minor: u32
    uid: u32
    gid: u32

    def describe(self) -> str:
        kind = {0o020000: "c", 0o060000: "b", 0o010000: "p"}.get(self.mode & 0o170000, "?")
        device = "" if kind == "p" else f" {self.major}:{self.minor}"
        owner = f"{self.uid}:{self.gid}"
        return f"mknod {self.destination} {kind}{device} {self.mode & 0o7777:04o} {owner}"


class BindDevice(Operation):
    """Bind the host's device `source`, checked to have this number, where mknod is not allowed."""

    source: Text
    destination: Text
    mode: u32
    major: u32
    minor: u32

    def describe(self) -> str:
        return f"bind device {self.source} on {self.destination}"


class OpenConsole(Operation):
    """Open a pty of the container's devpts, send its master over the socket in `slot`, bind it on /dev/console."""

    slot: u32
    width: u32
    height: u32
    mount: u32
    uid: u32
    gid: u32

    def describe(self) -> str:
        return f"open a console of {self.width}x{self.height}"


class PivotRoot(Operation):
    """pivot_root(2) into the rootfs and detach the host's tree."""

    def describe(self) -> str:
        return "pivot_root into the rootfs"


class MoveRoot(Operation):
    """Move the rootfs mount over / and chroot (--no-pivot, for an initramfs, where pivot_root cannot work)."""

    def describe(self) -> str:
        return "move the rootfs onto / and chroot"


class ChangeRoot(Operation):
    """chroot(2) into the rootfs, when the container has no mount namespace of its own."""

    def describe(self) -> str:
        return "chroot into the rootfs"


class MaskPath(Operation):
    """Hide a path: a file under /dev/null, a directory under an empty read-only tmpfs. A missing one is skipped."""

    destination: Text
    label: Text

    def describe(self) -> str:
        return f"mask {self.destination}"


class ReadonlyPath(Operation):
    """Make a path read-only by a bind mount over itself. A missing one is skipped."""

    destination: Text

    def describe(self) -> str:
        return f"read-only {self.destination}"


class Unmount(Operation):
    """Detach the mount on `destination` of a container that runs. A symbolic link on the way is an error: what a
    container puts there must not have it lose a mount that hides something."""

    destination: Text

    def describe(self) -> str:
        return f"unmount {self.destination}"


class Finish(Operation):
    """End without a program: what was to be changed in a container is."""

    def describe(self) -> str:
        return "finish"


# ---- the process ------------------------------------------------------------------------------


class WriteSysctl(Operation):
    """Write `value` to /proc/sys/`path`, through a private procfs."""

    path: Text
    value: Text

    def describe(self) -> str:
        return f"sysctl {self.path.replace('/', '.')} = {self.value}"


class SetLabel(Operation):
    """Write an LSM label to /proc/thread-self/attr/`attribute`, through a private procfs."""

    attribute: Text
    label: Text

    def describe(self) -> str:
        return f"label {self.attribute} = {self.label}"


class SetFileLabel(Operation):
    """Label the file at `destination` (the extended attribute security.selinux)."""

    destination: Text
    label: Text

    def describe(self) -> str:
        return f"label {self.destination} = {self.label}"


class NewSessionKeyring(Operation):
    """Join a new session keyring, so that the container cannot reach the caller's."""

    def describe(self) -> str:
        return "new session keyring"


class NewSession(Operation):
    """setsid(2)."""

    def describe(self) -> str:
        return "new session"


class SetRlimit(Operation):
    resource: u32
    soft: u64
    hard: u64

    def describe(self) -> str:
        return f"rlimit {self.resource} soft {self.soft} hard {self.hard}"


class SetScheduler(Operation):
    """sched_setattr(2); times in nanoseconds."""

    policy: u32
    flags: u64
    nice: i32
    priority: u32
    runtime: u64
    deadline: u64
    period: u64


class SetIoPriority(Operation):
    """ioprio_set(2): class << 13 | priority."""

    value: u32


class SetAffinity(Operation):
    """sched_setaffinity(2): a CPU mask, lowest CPU in the lowest bit of the first byte."""

    mask: Blob

    def describe(self) -> str:
        return f"CPU affinity mask {int.from_bytes(self.mask, 'little'):#x}"


class SetMemoryPolicy(Operation):
    """set_mempolicy(2): mode with flags, and a node mask."""

    mode: u32
    nodes: Blob

    def describe(self) -> str:
        return f"memory policy {self.mode:#x} nodes {int.from_bytes(self.nodes, 'little'):#x}"


class SetPersonality(Operation):
    """personality(2)."""

    persona: u32


class SetUmask(Operation):
    mask: u32

    def describe(self) -> str:
        return f"umask {self.mask:04o}"


class SetNoNewPrivileges(Operation):
    """prctl(PR_SET_NO_NEW_PRIVS)."""

    def describe(self) -> str:
        return "no new privileges"


class OwnStdio(Operation):
    """Give stdin, stdout and stderr to `uid`, so that the program may reopen them by /dev/stdout."""

    uid: u32

    def describe(self) -> str:
        return f"stdio owned by {self.uid}"


class DropBounding(Operation):
    """Drop all capabilities from the bounding set but those in `keep` (a bit mask)."""

    keep: u64

    def describe(self) -> str:
        return f"bounding set {self.keep:#x}"


class SetUser(Operation):
    """setgroups, setresgid, setresuid, keeping capabilities until SetCapabilities."""

    uid: u32
    gid: u32
    groups: U32s
    set_groups: u32

    def describe(self) -> str:
        groups = f" groups {','.join(map(str, self.groups))}" if self.groups else ""
        return f"user {self.uid}:{self.gid}{groups}"


class SetCapabilities(Operation):
    """capset(2) and the ambient set; bit masks."""

    effective: u64
    permitted: u64
    inheritable: u64
    ambient: u64

    def describe(self) -> str:
        return (
            f"capabilities effective {self.effective:#x} permitted {self.permitted:#x}"
            f" inheritable {self.inheritable:#x} ambient {self.ambient:#x}"
        )


class LoadSeccomp(Operation):
    """seccomp(SECCOMP_SET_MODE_FILTER). With `listener`, its descriptor is sent to the runtime by a helper
    process that the filter does not bind, and the init waits until it is handed on."""

    program: Blob
    flags: u32
    listener: u32

    def describe(self) -> str:
        listener = ", with a listener" if self.listener else ""
        return f"seccomp filter of {len(self.program) // 8} instructions{listener}"


class ChangeDirectory(Operation):
    """chdir(2), and check that the directory lies inside the root."""

    path: Text

    def describe(self) -> str:
        return f"chdir {self.path}"


class WaitForStart(Operation):
    """Wait for `start` on the listening socket in `slot`."""

    slot: u32

    def describe(self) -> str:
        return "wait for start"


class OpenHookOutputs(Operation):
    """Open files of the host, appending, for what the hooks that run here write; "" for none."""

    standard_output: Text
    standard_error: Text

    def describe(self) -> str:
        pairs = (("stdout", self.standard_output), ("stderr", self.standard_error))
        return "hooks have " + ", ".join(f"{name} {path}" for name, path in pairs if path)


class RunHook(Operation):
    """Run a createContainer or startContainer hook here; `timeout` in seconds, 0 for none."""

    path: Text
    args: Texts
    env: Texts
    timeout: u32

    def describe(self) -> str:
        return f"hook {' '.join(self.args) or self.path}"


class PrepareProgram(Operation):
    """All that a filter might forbid: have every descriptor but stdio and `keep_fds` more close on execution, unblock
    signals, and with `find_home` look HOME up for `uid` in /etc/passwd."""

    keep_fds: u32
    find_home: u32
    uid: u32

    def describe(self) -> str:
        keep = f" but {self.keep_fds} more" if self.keep_fds else ""
        home = f", find HOME of {self.uid}" if self.find_home else ""
        return f"close all descriptors but stdio{keep}{home}"


class Execute(Operation):
    """execve(2) of args[0], searched in the PATH of `env`. HOME, if it was looked up, is added to `env`."""

    args: Texts
    env: Texts

    def describe(self) -> str:
        return "exec " + " ".join(self.args)


def triples(values: list[int]) -> str:
    """Id mappings for a person: container id, host id and size of each range."""
    return " ".join(
        f"{values[i]}:{values[i + 1]}:{values[i + 2]}" for i in range(0, len(values), 3)
    )
