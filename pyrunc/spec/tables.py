"""Names that config.json uses and the numbers that the kernel knows them by.

Sources: runtime-spec config.md ("Linux mount options") and config-linux.md, mount(2),
    mount_setattr(2), fsconfig in the
kernel's fs/fs_context.c, capabilities(7), getrlimit(2), namespaces(7).
"""

from __future__ import annotations

# Per-mount attributes (linux/mount.h), for mount_setattr(2) and fsmount(2).
MOUNT_ATTR_RDONLY = 0x00000001
MOUNT_ATTR_NOSUID = 0x00000002
MOUNT_ATTR_NODEV = 0x00000004
MOUNT_ATTR_NOEXEC = 0x00000008
MOUNT_ATTR__ATIME = 0x00000070
MOUNT_ATTR_RELATIME = 0x00000000
MOUNT_ATTR_NOATIME = 0x00000010
MOUNT_ATTR_STRICTATIME = 0x00000020
MOUNT_ATTR_NODIRATIME = 0x00000080
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

# Flags of mount(2) (sys/mount.h): of the superblock, then propagation.
MS_SYNCHRONOUS = 0x00000010
MS_MANDLOCK = 0x00000040
MS_DIRSYNC = 0x00000080
MS_REC = 0x00004000
MS_SILENT = 0x00008000
MS_UNBINDABLE = 0x00020000
MS_PRIVATE = 0x00040000
MS_SLAVE = 0x00080000
MS_SHARED = 0x00100000
MS_I_VERSION = 0x00800000
MS_LAZYTIME = 0x02000000

# What kind of thing a mount option is.
ATTRIBUTE = "attribute"
SUPERBLOCK = "superblock"
PROPAGATION = "propagation"
ACTION = "action"

#: name -> (kind, set, clear, recursive). By kind:
#:
#: ATTRIBUTE    bits of MOUNT_ATTR_* to set and to clear, on the whole tree when recursive. To fold
#:              a list of options in order: `attr_set = attr_set & ~clear | set; attr_clr = attr_clr
#:              & ~set | clear`, and at the end, as mount_setattr(2) wants the access time field
#:              whole, `if attr_clr & MOUNT_ATTR__ATIME: attr_clr |= MOUNT_ATTR__ATIME`. Options
#:              that only take back another (atime, norelatime, nostrictatime) so lead to the
#:              kernel's default, relatime.
#: SUPERBLOCK   MS_* flags to set and to clear. Those in FSCONFIG_FLAGS are passed to
#:              fsconfig(FSCONFIG_SET_FLAG) by their own name. The rest have no such parameter: only
#:              mount(2) knows them.
#: PROPAGATION  the MS_* propagation type to set, on the whole tree when recursive.
#: ACTION       no flag: the name (see MOUNT_ACTIONS) says what to do.
#:
#: Not here, and so an option of the filesystem, is acl: MS_POSIXACL is a flag of the kernel's own.
MOUNT_OPTIONS: dict[str, tuple[str, int, int, bool]] = {
    "ro": (ATTRIBUTE, MOUNT_ATTR_RDONLY, 0, False),
    "rw": (ATTRIBUTE, 0, MOUNT_ATTR_RDONLY, False),
    "nosuid": (ATTRIBUTE, MOUNT_ATTR_NOSUID, 0, False),
    "suid": (ATTRIBUTE, 0, MOUNT_ATTR_NOSUID, False),
    "nodev": (ATTRIBUTE, MOUNT_ATTR_NODEV, 0, False),
    "dev": (ATTRIBUTE, 0, MOUNT_ATTR_NODEV, False),
    "noexec": (ATTRIBUTE, MOUNT_ATTR_NOEXEC, 0, False),
    "exec": (ATTRIBUTE, 0, MOUNT_ATTR_NOEXEC, False),
    "nodiratime": (ATTRIBUTE, MOUNT_ATTR_NODIRATIME, 0, False),
    "diratime": (ATTRIBUTE, 0, MOUNT_ATTR_NODIRATIME, False),
    "nosymfollow": (ATTRIBUTE, MOUNT_ATTR_NOSYMFOLLOW, 0, False),
    "symfollow": (ATTRIBUTE, 0, MOUNT_ATTR_NOSYMFOLLOW, False),
    "noatime": (ATTRIBUTE, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, False),
    "atime": (ATTRIBUTE, 0, MOUNT_ATTR_NOATIME, False),
    "relatime": (ATTRIBUTE, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, False),
    "norelatime": (ATTRIBUTE, 0, MOUNT_ATTR_RELATIME, False),
    "strictatime": (ATTRIBUTE, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, False),
    "nostrictatime": (ATTRIBUTE, 0, MOUNT_ATTR_STRICTATIME, False),
    "rro": (ATTRIBUTE, MOUNT_ATTR_RDONLY, 0, True),
    "rrw": (ATTRIBUTE, 0, MOUNT_ATTR_RDONLY, True),
    "rnosuid": (ATTRIBUTE, MOUNT_ATTR_NOSUID, 0, True),
    "rsuid": (ATTRIBUTE, 0, MOUNT_ATTR_NOSUID, True),
    "rnodev": (ATTRIBUTE, MOUNT_ATTR_NODEV, 0, True),
    "rdev": (ATTRIBUTE, 0, MOUNT_ATTR_NODEV, True),
    "rnoexec": (ATTRIBUTE, MOUNT_ATTR_NOEXEC, 0, True),
    "rexec": (ATTRIBUTE, 0, MOUNT_ATTR_NOEXEC, True),
    "rnodiratime": (ATTRIBUTE, MOUNT_ATTR_NODIRATIME, 0, True),
    "rdiratime": (ATTRIBUTE, 0, MOUNT_ATTR_NODIRATIME, True),
    "rnosymfollow": (ATTRIBUTE, MOUNT_ATTR_NOSYMFOLLOW, 0, True),
    "rsymfollow": (ATTRIBUTE, 0, MOUNT_ATTR_NOSYMFOLLOW, True),
    "rnoatime": (ATTRIBUTE, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, True),
    "ratime": (ATTRIBUTE, 0, MOUNT_ATTR_NOATIME, True),
    "rrelatime": (ATTRIBUTE, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, True),
    "rnorelatime": (ATTRIBUTE, 0, MOUNT_ATTR_RELATIME, True),
    "rstrictatime": (ATTRIBUTE, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, True),
    "rnostrictatime": (ATTRIBUTE, 0, MOUNT_ATTR_STRICTATIME, True),
    "sync": (SUPERBLOCK, MS_SYNCHRONOUS, 0, False),
    "async": (SUPERBLOCK, 0, MS_SYNCHRONOUS, False),
    "dirsync": (SUPERBLOCK, MS_DIRSYNC, 0, False),
    "mand": (SUPERBLOCK, MS_MANDLOCK, 0, False),
    "nomand": (SUPERBLOCK, 0, MS_MANDLOCK, False),
    "lazytime": (SUPERBLOCK, MS_LAZYTIME, 0, False),
    "nolazytime": (SUPERBLOCK, 0, MS_LAZYTIME, False),
    "silent": (SUPERBLOCK, MS_SILENT, 0, False),
    "loud": (SUPERBLOCK, 0, MS_SILENT, False),
    "iversion": (SUPERBLOCK, MS_I_VERSION, 0, False),
    "noiversion": (SUPERBLOCK, 0, MS_I_VERSION, False),
    "private": (PROPAGATION, MS_PRIVATE, 0, False),
    "rprivate": (PROPAGATION, MS_PRIVATE, 0, True),
    "shared": (PROPAGATION, MS_SHARED, 0, False),
    "rshared": (PROPAGATION, MS_SHARED, 0, True),
    "slave": (PROPAGATION, MS_SLAVE, 0, False),
    "rslave": (PROPAGATION, MS_SLAVE, 0, True),
    "unbindable": (PROPAGATION, MS_UNBINDABLE, 0, False),
    "runbindable": (PROPAGATION, MS_UNBINDABLE, 0, True),
    "defaults": (ACTION, 0, 0, False),
    "bind": (ACTION, 0, 0, False),
    "rbind": (ACTION, 0, 0, True),
    "remount": (ACTION, 0, 0, False),
    "idmap": (ACTION, 0, 0, False),
    "ridmap": (ACTION, 0, 0, True),
    "tmpcopyup": (ACTION, 0, 0, False),
    "copy-symlink": (ACTION, 0, 0, False),
}

#: Superblock options that every filesystem takes as a flag through fsconfig(2) (vfs_parse_sb_flag).
FSCONFIG_FLAGS = frozenset(
    ("ro", "rw", "sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime")
)

#: Options of kind ACTION and what they ask for.
MOUNT_ACTIONS: dict[str, str] = {
    "defaults": "nothing",
    "bind": "mount the source itself",
    "rbind": "mount the source itself and all that is mounted below it",
    "remount": "change the flags of what is mounted at the destination",
    "idmap": "map the ids of the mount",
    "ridmap": "map the ids of the mount and of all that is mounted below it",
    "tmpcopyup": "copy what the destination holds into the new tmpfs",
    "copy-symlink": "when the source is a symbolic link, make the same link instead of a mount",
}

#: capabilities(7): name -> number.
CAPABILITIES: dict[str, int] = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_IPC_OWNER": 15,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYS_TIME": 25,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_MKNOD": 27,
    "CAP_LEASE": 28,
    "CAP_AUDIT_WRITE": 29,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_SETFCAP": 31,
    "CAP_MAC_OVERRIDE": 32,
    "CAP_MAC_ADMIN": 33,
    "CAP_SYSLOG": 34,
    "CAP_WAKE_ALARM": 35,
    "CAP_BLOCK_SUSPEND": 36,
    "CAP_AUDIT_READ": 37,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}

#: getrlimit(2): name -> resource number (asm-generic/resource.h, as on x86, Arm, RISC-V, POWER and
#: s390).
RLIMITS: dict[str, int] = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

#: Namespace type of the spec -> (CLONE_NEW* flag, name below /proc/PID/ns).
NAMESPACES: dict[str, tuple[int, str]] = {
    "time": (0x00000080, "time"),
    "mount": (0x00020000, "mnt"),
    "cgroup": (0x02000000, "cgroup"),
    "uts": (0x04000000, "uts"),
    "ipc": (0x08000000, "ipc"),
    "user": (0x10000000, "user"),
    "pid": (0x20000000, "pid"),
    "network": (0x40000000, "net"),
}

#: Hooks in the order in which they run (runtime.md, "Lifecycle").
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
